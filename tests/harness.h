/* What every test is written with: the part of Criterion's interface that two runners understand.
 *
 *     Test(suite, name, .init = f, .fini = f, .timeout = seconds, .signal = n, .exit_code = n, .disabled = b) { ... }
 *     cr_assert(condition), cr_assert_eq/_neq/_lt/_leq/_gt/_geq(a, b), cr_assert_null/_not_null(p),
 *     cr_assert_str_eq/_str_neq(a, b); all of them as cr_expect... too; each with an optional printf message
 *     cr_skip_test(message)
 *
 * With -DROTA_CRITERION these are Criterion's. Otherwise they are those of runner.c, which needs nothing but
 * libc and takes a child's wait status as the verdict: so it can speak for sanitizers and valgrind, and be
 * linked statically for another libc or CPU, where Criterion cannot.
 *
 * A failed cr_assert ends the test at once. Inside a coroutine that is forbidden: Criterion leaves by longjmp,
 * which must not cross stacks. Use cr_expect there, which notes the failure and goes on.
 */
#ifndef ROTA_TESTS_HARNESS_H
#define ROTA_TESTS_HARNESS_H

#ifdef ROTA_CRITERION
# include <criterion/criterion.h>
#else

# include <stdbool.h>
# include <stddef.h>
# include <string.h>

/* One test. Only .init to .disabled are for the users of Test. */
struct test {
    const char *suite, *name, *file;
    int line;
    void (*body)(void);
    struct test *next;
    void (*init)(void), (*fini)(void);  /* run in the test's process, before and after the body */
    double timeout;                     /* seconds; 0: the runner's default */
    int signal;                         /* the test passes when this signal ends it */
    int exit_code;                      /* the test passes when it exits with this code */
    bool disabled;                      /* counted as skipped */
    const char *description;
    int last_;                          /* keeps the list of initialisers from being empty */
};

void test_register(struct test *test);
void test_skip(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void test_failed(bool fatal, const char *file, int line, const char *text, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Tests enter the runner's list by themselves, before main. */
# define Test(...) TEST_DEFINE_(__VA_ARGS__, .last_ = 0)
# define TEST_DEFINE_(Suite, Name, ...)                                                             \
    static void test_##Suite##_##Name##_body_(void);                                                \
    static struct test test_##Suite##_##Name##_ = { .suite = #Suite, .name = #Name,                 \
        .file = __FILE__, .line = __LINE__, .body = test_##Suite##_##Name##_body_, __VA_ARGS__ };   \
    __attribute__((constructor)) static void test_##Suite##_##Name##_register_(void) {              \
        test_register(&test_##Suite##_##Name##_);                                                   \
    }                                                                                               \
    static void test_##Suite##_##Name##_body_(void)

/* A check with a message has more arguments than one without; the message's are evaluated only when the check
 * fails, and the compiler sees its format. TEST_1_OR_M_ counts: 1_ for one argument, M_ for more; TEST_2_OR_M_
 * the same for two. */
# define TEST_17TH_(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, it, ...) it
# define TEST_1_OR_M_(...) TEST_17TH_(__VA_ARGS__, M_, M_, M_, M_, M_, M_, M_, M_, M_, M_, M_, M_, M_, M_, M_, 1_, )
# define TEST_2_OR_M_(...) TEST_17TH_(__VA_ARGS__, M_, M_, M_, M_, M_, M_, M_, M_, M_, M_, M_, M_, M_, M_, 1_, 0_, )
# define TEST_JOIN_(a, b) TEST_JOIN2_(a, b)
# define TEST_JOIN2_(a, b) a##b

/* Statements, because Criterion's are. */
# define TEST_IF_1_(fatal, text, ok) TEST_IF_M_(fatal, text, ok, " ")
# define TEST_IF_M_(fatal, text, ok, ...)                                \
    do {                                                                \
        if (!(ok))                                                      \
            test_failed(fatal, __FILE__, __LINE__, text, __VA_ARGS__);  \
    } while (0)
# define TEST_OP_1_(fatal, text, op, a, b) TEST_IF_1_(fatal, text, (a) op (b))
# define TEST_OP_M_(fatal, text, op, a, b, ...) TEST_IF_M_(fatal, text, (a) op (b), __VA_ARGS__)
# define TEST_STR_1_(fatal, text, op, a, b) TEST_IF_1_(fatal, text, strcmp(a, b) op 0)
# define TEST_STR_M_(fatal, text, op, a, b, ...) TEST_IF_M_(fatal, text, strcmp(a, b) op 0, __VA_ARGS__)
# define TEST_NULL_1_(fatal, text, op, p) TEST_IF_1_(fatal, text, (p) op NULL)
# define TEST_NULL_M_(fatal, text, op, p, ...) TEST_IF_M_(fatal, text, (p) op NULL, __VA_ARGS__)

# define TEST_IF_(fatal, text, ...) TEST_JOIN_(TEST_IF_, TEST_1_OR_M_(__VA_ARGS__))(fatal, text, __VA_ARGS__)
# define TEST_OP_(fatal, text, op, ...) TEST_JOIN_(TEST_OP_, TEST_2_OR_M_(__VA_ARGS__))(fatal, text, op, __VA_ARGS__)
# define TEST_STR_(fatal, text, op, ...) TEST_JOIN_(TEST_STR_, TEST_2_OR_M_(__VA_ARGS__))(fatal, text, op, __VA_ARGS__)
# define TEST_NULL_(fatal, text, op, ...) TEST_JOIN_(TEST_NULL_, TEST_1_OR_M_(__VA_ARGS__))(fatal, text, op, __VA_ARGS__)

# define cr_assert(...) TEST_IF_(true, "assert: " #__VA_ARGS__, __VA_ARGS__)
# define cr_expect(...) TEST_IF_(false, "expect: " #__VA_ARGS__, __VA_ARGS__)
# define cr_assert_eq(...) TEST_OP_(true, "assert ==: " #__VA_ARGS__, ==, __VA_ARGS__)
# define cr_expect_eq(...) TEST_OP_(false, "expect ==: " #__VA_ARGS__, ==, __VA_ARGS__)
# define cr_assert_neq(...) TEST_OP_(true, "assert !=: " #__VA_ARGS__, !=, __VA_ARGS__)
# define cr_expect_neq(...) TEST_OP_(false, "expect !=: " #__VA_ARGS__, !=, __VA_ARGS__)
# define cr_assert_lt(...) TEST_OP_(true, "assert <: " #__VA_ARGS__, <, __VA_ARGS__)
# define cr_expect_lt(...) TEST_OP_(false, "expect <: " #__VA_ARGS__, <, __VA_ARGS__)
# define cr_assert_leq(...) TEST_OP_(true, "assert <=: " #__VA_ARGS__, <=, __VA_ARGS__)
# define cr_expect_leq(...) TEST_OP_(false, "expect <=: " #__VA_ARGS__, <=, __VA_ARGS__)
# define cr_assert_gt(...) TEST_OP_(true, "assert >: " #__VA_ARGS__, >, __VA_ARGS__)
# define cr_expect_gt(...) TEST_OP_(false, "expect >: " #__VA_ARGS__, >, __VA_ARGS__)
# define cr_assert_geq(...) TEST_OP_(true, "assert >=: " #__VA_ARGS__, >=, __VA_ARGS__)
# define cr_expect_geq(...) TEST_OP_(false, "expect >=: " #__VA_ARGS__, >=, __VA_ARGS__)
# define cr_assert_str_eq(...) TEST_STR_(true, "assert equal strings: " #__VA_ARGS__, ==, __VA_ARGS__)
# define cr_expect_str_eq(...) TEST_STR_(false, "expect equal strings: " #__VA_ARGS__, ==, __VA_ARGS__)
# define cr_assert_str_neq(...) TEST_STR_(true, "assert different strings: " #__VA_ARGS__, !=, __VA_ARGS__)
# define cr_expect_str_neq(...) TEST_STR_(false, "expect different strings: " #__VA_ARGS__, !=, __VA_ARGS__)
# define cr_assert_null(...) TEST_NULL_(true, "assert null: " #__VA_ARGS__, ==, __VA_ARGS__)
# define cr_expect_null(...) TEST_NULL_(false, "expect null: " #__VA_ARGS__, ==, __VA_ARGS__)
# define cr_assert_not_null(...) TEST_NULL_(true, "assert not null: " #__VA_ARGS__, !=, __VA_ARGS__)
# define cr_expect_not_null(...) TEST_NULL_(false, "expect not null: " #__VA_ARGS__, !=, __VA_ARGS__)
# define cr_skip_test(...) test_skip(" " __VA_ARGS__)
#endif
#endif
