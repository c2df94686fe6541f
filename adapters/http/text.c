/* See text.h. */
#include "adapters/http/text.h"

/* A row for sixteen bytes; the sums are those of the enum. */
const unsigned char rota__http_class[256] = {
     0,  0,  0,  0,  0,  0,  0,  0,  0,  2,  0,  0,  0,  0,  0,  0,
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
     2,  7,  6,  7,  7,  7,  7,  7,  6,  6,  7,  7,  6,  7,  7,  6,
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  6,  6,  6,  6,  6,  6,
     6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  6,  6,  6,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  6,  7,  6,  7,  0,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
};

size_t rota__http_span(const char *s, size_t n, unsigned class) {
    size_t i = 0;
    while (i < n && rota__http_is(s[i], class))
        i++;
    return i;
}

/* Of at least half a block and less than a whole one: the first half and the last, side by side. */
static size_t span_halves(const char *s, size_t n, unsigned least) {
    enum { HALF = HTTP_BLOCK / 2 };
    char both[HTTP_BLOCK];
    memcpy(both, s, HALF);
    memcpy(both + HALF, s + n - HALF, HALF);
    size_t at = rota__http_block_span(both, least);
    return at < HALF ? at : at + n - HTTP_BLOCK;
}

/* The last block is looked at whole, with bytes that were looked at before. */
size_t rota__http_span_rest(const char *s, size_t n, unsigned least) {
    size_t i = 0;
    if (n >= HTTP_BLOCK / 2 && n < HTTP_BLOCK)
        return span_halves(s, n, least);
    for (; n >= HTTP_BLOCK && i < n; i += HTTP_BLOCK) {
        size_t at = i < n - HTTP_BLOCK ? i : n - HTTP_BLOCK, span = rota__http_block_span(s + at, least);
        if (span < HTTP_BLOCK)
            return at + span;
    }
    while (i < n && (unsigned char)s[i] >= least && s[i] != 0x7f)
        i++;
    return i < n ? i : n;
}

/* ---- texts ---- */

bool rota__http_all(const char *s, unsigned class) {
    size_t n = strlen(s);
    return n > 0 && rota__http_span(s, n, class) == n;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

bool rota__http_same_n(const char *a, const char *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (lower(a[i]) != lower(b[i]))
            return false;
    return true;
}

/* Most names differ in their first letter, and this is asked often. */
bool rota__http_same(const char *a, const char *b) {
    if (lower(*a) != lower(*b))
        return false;
    size_t n = strlen(a);
    return n == strlen(b) && rota__http_same_n(a, b, n);
}

bool rota__http_listed(const char *list, const char *token) {
    size_t n = strlen(token);
    while (*list != '\0') {
        list += strspn(list, ", \t");
        size_t element = strcspn(list, ", \t");
        if (element == n && rota__http_same_n(list, token, n))
            return true;
        list += element;
    }
    return false;
}

/* ---- output ------------------------------------------------------------------------------------- */

void rota__http_put_number(struct rota__http_out *out, uint64_t value, unsigned base) {
    char digits[20];
    size_t i = sizeof digits;
    do
        digits[--i] = "0123456789abcdef"[value % base];
    while ((value /= base) > 0);
    rota__http_put(out, digits + i, sizeof digits - i);
}

void rota__http_put_field(struct rota__http_out *out, const char *name, const char *value) {
    rota__http_put_text(out, name);
    rota__http_put(out, ": ", 2);
    rota__http_put_text(out, value);
    rota__http_put(out, "\r\n", 2);
}

/* ---- dates -------------------------------------------------------------------------------------- */

static void two_digits(char *to, int64_t value) {
    to[0] = (char)('0' + value / 10);
    to[1] = (char)('0' + value % 10);
}

/* Days since 1970 to a date of the Gregorian calendar, in years that begin in March, so that the leap day is the last
 * one: the method of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
void rota__http_date(char date[ROTA__HTTP_DATE_SIZE], int64_t seconds) {
    static const char days[] = "ThuFriSatSunMonTueWed", months[] = "MarAprMayJunJulAugSepOctNovDecJanFeb";
    int64_t last = INT64_C(253402300799); /* of the year 9999 */
    seconds = seconds < 0 ? 0 : seconds > last ? last : seconds;
    int64_t day = seconds / 86400, second = seconds % 86400;
    int64_t z = day + 719468, era = z / 146097, day_of_era = z % 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    int64_t year = year_of_era + era * 400 + (month >= 10);
    memcpy(date, "xxx, dd mmm yyyy hh:mm:ss GMT", ROTA__HTTP_DATE_SIZE);
    memcpy(date, days + day % 7 * 3, 3);
    two_digits(date + 5, day_of_year - (153 * month + 2) / 5 + 1);
    memcpy(date + 8, months + month * 3, 3);
    two_digits(date + 12, year / 100);
    two_digits(date + 14, year % 100);
    two_digits(date + 17, second / 3600);
    two_digits(date + 20, second / 60 % 60);
    two_digits(date + 23, second % 60);
}
