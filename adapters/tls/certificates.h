/* Certificates for tests, made on the spot: as PEM text, by OpenSSL's API. */
#ifndef ROTA_ADAPTERS_TLS_CERTIFICATES_H
#define ROTA_ADAPTERS_TLS_CERTIFICATES_H

#include <openssl/x509.h>
#include <stdbool.h>

struct wish {
    const char *name;          /* of the subject */
    const char *alt;           /* subjectAltName: "DNS:localhost,IP:127.0.0.1"; NULL: none */
    int from_days, to_days;    /* valid, counted from now; both 0: from yesterday to tomorrow */
    bool ca, rsa, client;
};

/* A certificate with its key; x509 and key are kept to sign others. */
struct certificate {
    X509 *x509;
    EVP_PKEY *key;
    char pem[16384];           /* itself, then its issuer's pem if that is no root */
    char key_pem[4096];
    bool root;
};

/* issuer NULL: it signs itself. */
void make_certificate(struct certificate *c, const struct certificate *issuer, const struct wish *wish);
void free_certificate(struct certificate *c);

/* What most tests need, made once in a process: a root, one between, a server's for localhost, 127.0.0.1 and ::1, a
 * client's; a server's that has expired and one that is not valid yet; another root and a server's of
 * it; a server's that signed itself. */
extern struct certificate root, between, server, client, expired, early, stranger_root, stranger, selfish;
void make_certificates(void);

/* One with RSA, whose key takes its time. */
extern struct certificate server_rsa;
void make_rsa_certificate(void);

#endif
