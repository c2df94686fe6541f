/* See certificates.h. */
#include "adapters/tls/certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct certificate root, between, server, server_rsa, client, expired, early, stranger_root, stranger, selfish;

/* Tests cannot go on without. */
static void must(bool ok) {
    if (!ok) {
        fputs("a certificate cannot be made\n", stderr);
        abort();
    }
}

static void extend(X509 *x509, X509V3_CTX *v3, int nid, const char *value) {
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, v3, nid, value);
    must(e && X509_add_ext(x509, e, -1) == 1);
    X509_EXTENSION_free(e);
}

static void text_of(BIO *bio, char *buf, size_t size) {
    int n = BIO_read(bio, buf, (int)size - 1);
    must(n > 0 && n < (int)size - 1);
    buf[n] = '\0';
    BIO_free(bio);
}

static void to_text(struct certificate *c, const struct certificate *issuer) {
    BIO *bio = BIO_new(BIO_s_mem());
    must(bio && PEM_write_bio_X509(bio, c->x509) == 1);
    if (issuer && !issuer->root)
        must(BIO_puts(bio, issuer->pem) > 0);
    text_of(bio, c->pem, sizeof c->pem);
    bio = BIO_new(BIO_s_mem());
    must(bio && PEM_write_bio_PrivateKey(bio, c->key, NULL, NULL, 0, NULL, NULL) == 1);
    text_of(bio, c->key_pem, sizeof c->key_pem);
}

static void set_times(X509 *x509, const struct wish *wish) {
    int from = wish->from_days, to = wish->to_days;
    if (!from && !to)
        from = -1, to = 1;
    must(X509_gmtime_adj(X509_getm_notBefore(x509), from * 86400L) != NULL);
    must(X509_gmtime_adj(X509_getm_notAfter(x509), to * 86400L) != NULL);
}

void make_certificate(struct certificate *c, const struct certificate *issuer, const struct wish *wish) {
    static long serial;
    c->root = !issuer;
    c->key = wish->rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    c->x509 = X509_new();
    must(c->key && c->x509 && X509_set_version(c->x509, 2) == 1);
    ASN1_INTEGER_set(X509_get_serialNumber(c->x509), ++serial);
    set_times(c->x509, wish);
    must(X509_set_pubkey(c->x509, c->key) == 1);
    X509_NAME *name = X509_get_subject_name(c->x509);
    must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)wish->name, -1, -1, 0) == 1);
    X509 *by = issuer ? issuer->x509 : c->x509;
    must(X509_set_issuer_name(c->x509, X509_get_subject_name(by)) == 1);
    X509V3_CTX v3;
    X509V3_set_ctx(&v3, by, c->x509, NULL, NULL, 0);
    extend(c->x509, &v3, NID_basic_constraints, wish->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    extend(c->x509, &v3, NID_subject_key_identifier, "hash");
    if (!wish->ca)
        extend(c->x509, &v3, NID_ext_key_usage, wish->client ? "clientAuth" : "serverAuth");
    if (wish->alt)
        extend(c->x509, &v3, NID_subject_alt_name, wish->alt);
    must(X509_sign(c->x509, issuer ? issuer->key : c->key, EVP_sha256()) > 0);
    to_text(c, issuer);
}

void free_certificate(struct certificate *c) {
    X509_free(c->x509);
    EVP_PKEY_free(c->key);
    memset(c, 0, sizeof *c);
}

static void free_certificates(void) {
    struct certificate *const all[] = {&root, &between, &server, &server_rsa, &client, &expired, &early, &stranger_root,
                                       &stranger, &selfish};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free_certificate(all[i]);
}

void make_certificates(void) {
    static const char here[] = "DNS:localhost,DNS:*.wild.test,IP:127.0.0.1,IP:::1";
    if (root.x509)
        return;
    make_certificate(&root, NULL, &(struct wish){.name = "Root", .ca = true});
    make_certificate(&between, &root, &(struct wish){.name = "Between", .ca = true});
    make_certificate(&server, &between, &(struct wish){.name = "server", .alt = here});
    make_certificate(&client, &between, &(struct wish){.name = "client", .client = true});
    make_certificate(&expired, &between,
                     &(struct wish){.name = "expired", .alt = here, .from_days = -3, .to_days = -1});
    make_certificate(&early, &between, &(struct wish){.name = "early", .alt = here, .from_days = 1, .to_days = 3});
    make_certificate(&stranger_root, NULL, &(struct wish){.name = "Stranger", .ca = true});
    make_certificate(&stranger, &stranger_root, &(struct wish){.name = "strange server", .alt = here});
    make_certificate(&selfish, NULL, &(struct wish){.name = "selfish", .alt = here});
    atexit(free_certificates);
}

void make_rsa_certificate(void) {
    make_certificates();
    if (!server_rsa.x509)
        make_certificate(&server_rsa, &between,
                         &(struct wish){.name = "server with RSA", .alt = "DNS:localhost", .rsa = true});
}
