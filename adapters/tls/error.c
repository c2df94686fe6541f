/* What OpenSSL says went wrong, as an errno and in words.
 *
 * OpenSSL keeps a queue of errors for each thread. Tasks share a thread: so the queue is empty before each call into
 * it, and emptied right after one that failed, and what it said is kept with the connection.
 */
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>

#include "adapters/tls/tls.h"

void rota__tls_say(char *buf, size_t n, const char *before, const char *text) {
    if (buf && n)
        (void)snprintf(buf, n, "%s%s", before, text);
}

/* The first one: it is the cause, the later ones are what came of it. Memory counts wherever it was missing. */
static unsigned long take_errors(bool *no_memory) {
    unsigned long first = ERR_peek_error(), code;
    *no_memory = false;
    while ((code = ERR_get_error()) != 0)
        *no_memory |= ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    return first;
}

/* Alerts that the peer sent have their numbers behind this one. */
static bool is_alert(int reason) { return reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256; }

static int explain_tls(int reason, const char *text, long verify, char *buf, size_t n) {
    switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        rota__tls_say(buf, n, "the peer's certificate is not accepted: ", X509_verify_cert_error_string(verify));
        return -EACCES;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        rota__tls_say(buf, n, "", "the peer has no certificate");
        return -EACCES;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        rota__tls_say(buf, n, "", "the connection was cut off: it ended without a close_notify");
        return -ECONNRESET;
    case SSL_R_PROTOCOL_IS_SHUTDOWN:
        rota__tls_say(buf, n, "", "the writing side was shut down");
        return -EPIPE;
    default:
        rota__tls_say(buf, n, is_alert(reason) ? "the peer refuses: " : "TLS: ", text ? text : "unknown error");
        return -EPROTO;
    }
}

int rota__tls_explain(long verify, char *buf, size_t n) {
    bool no_memory;
    unsigned long code = take_errors(&no_memory);
    int reason = ERR_GET_REASON(code);
    if (no_memory) {
        rota__tls_say(buf, n, "", "out of memory");
        return -ENOMEM;
    }
    if (ERR_SYSTEM_ERROR(code) && reason > 0) {
        rota__tls_say(buf, n, "", rota_strerror(-reason));
        return -reason;
    }
    return explain_tls(ERR_GET_LIB(code) == ERR_LIB_SSL ? reason : 0, ERR_reason_error_string(code), verify, buf, n);
}
