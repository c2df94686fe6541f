/* Tests of examples/args.c. */
#include "examples/args.h"
#include "tests/harness.h"

Test(args, numbers) {
    long v = -1;
    cr_expect(args_number("0", 0, 9, &v));
    cr_expect_eq(v, 0);
    cr_expect(args_number("007", 0, 9, &v));
    cr_expect_eq(v, 7);
    static const char *const bad[] = { "", " 1", "1 ", "+1", "-1", "0x1", "1.0", "10", "99999999999999999999999" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect(!args_number(bad[i], 0, 9, &v), "\"%s\" was taken as %ld", bad[i], v);
    cr_expect(!args_number("0", 1, 9, &v));
    cr_expect_eq(v, 7, "a refused text leaves the value alone");
}

Test(args, seconds) {
    int64_t ns = -1;
    cr_expect(args_seconds("2", &ns));
    cr_expect_eq(ns, 2000000000);
    cr_expect(args_seconds("0.25", &ns));
    cr_expect_eq(ns, 250000000);
    cr_expect(args_seconds(".5", &ns));
    cr_expect(args_seconds("1000000", &ns));
    static const char *const bad[] = { "", ".", "0", "0.0", "-1", "1e3", "nan", "inf", "1.2.3", "1s", " 1", "1000001" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect(!args_seconds(bad[i], &ns), "\"%s\" was taken", bad[i]);
}
