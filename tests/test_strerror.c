/* Error values in words. */
#include <string.h>

#include "rota/reactor.h"
#include "tests/harness.h"

Test(strerror, results_are_success) {
    static const intptr_t results[] = { 0, 1, 4095, -4096, INTPTR_MAX, INTPTR_MIN };
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        cr_expect(!rota_failed(results[i]));
        cr_expect_str_eq(rota_strerror(results[i]), "success");
    }
}

Test(strerror, every_error_has_words) {
    for (intptr_t v = -4095; v < 0; v++) {
        cr_expect(rota_failed(v));
        cr_assert_not_null(rota_strerror(v));
        cr_expect_str_neq(rota_strerror(v), "");
        cr_expect_str_neq(rota_strerror(v), "success");
    }
}

/* Every error that a header of the library names. */
Test(strerror, the_librarys_own_errors_are_known) {
    static const int errors[] = {
        EPERM, ENOENT, ESRCH, EINTR, EBADF, EAGAIN, ENOMEM, EBUSY, EINVAL, ENFILE, EMFILE, ENOSPC, EPIPE, EDEADLK,
        EMSGSIZE, ENOTSUP, EOPNOTSUPP, ECONNREFUSED, ECONNRESET, ESHUTDOWN, ETIMEDOUT, EHOSTUNREACH, EALREADY,
        ECANCELED, EOVERFLOW,
    };
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        cr_expect_str_neq(rota_strerror(-errors[i]), "unknown error", "errno %d", errors[i]);
}

Test(strerror, different_errors_have_different_words) {
    cr_expect_str_neq(rota_strerror(-ECANCELED), rota_strerror(-ETIMEDOUT));
    cr_expect_str_neq(rota_strerror(-EBADF), rota_strerror(-ESHUTDOWN));
    cr_expect_str_eq(rota_strerror(-4095), "unknown error");
}

Test(strerror, the_version_is_that_of_the_header) { cr_expect_str_eq(rota_version(), ROTA_VERSION); }
