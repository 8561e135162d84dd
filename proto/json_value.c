#include "proto/json_value.h"

#include <stdio.h>

#include "engine/base/assert.h"

#define SECOND_US 1000000
#define DAY_S 86400

static int64_t floor_div(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

/* Days since 1970-01-01 of a date, and back; proleptic Gregorian, years starting in March so that the leap day is last
 * (Hinnant's algorithms). */
static int64_t days_of_date(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_of_days(int64_t days, int64_t *year_out, int *month_out, int *day_out)
{
    days += 719468;
    int64_t era = floor_div(days, 146097);
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    *day_out = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
    *month_out = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    *year_out = year_of_era + era * 400 + (*month_out <= 2);
}

bool kap_time_print(int64_t unix_us, char text_out[KAP_TIME_TEXT_BYTES])
{
    int64_t seconds = floor_div(unix_us, SECOND_US), days = floor_div(seconds, DAY_S), year;
    int micros = (int)(unix_us - seconds * SECOND_US), of_day = (int)(seconds - days * DAY_S), month, day;
    date_of_days(days, &year, &month, &day);
    if (year < 1 || year > 9999)
        return false;
    snprintf(text_out, KAP_TIME_TEXT_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ", (unsigned)year % 10000u,
             (unsigned)month % 100u, (unsigned)day % 100u, (unsigned)of_day / 3600u % 100u,
             (unsigned)of_day / 60u % 60u, (unsigned)of_day % 60u, (unsigned)micros % 1000000u);
    return true;
}

struct scan {
    const uint8_t *at, *end;
};

/* Exactly `digits` digits between low and high. */
static bool number_scan(struct scan *scan, int digits, int low, int high, int *value_out)
{
    int value = 0;
    for (int i = 0; i < digits; i++, scan->at++) {
        if (scan->at == scan->end || *scan->at < '0' || *scan->at > '9')
            return false;
        value = value * 10 + (*scan->at - '0');
    }
    *value_out = value;
    return value >= low && value <= high;
}

static bool char_scan(struct scan *scan, const char *any_of, char *found_out)
{
    if (scan->at == scan->end || *scan->at == 0 || !strchr(any_of, *scan->at))
        return false;
    *found_out = (char)*scan->at++;
    return true;
}

static bool fraction_scan(struct scan *scan, int *micros_out)
{
    int scale = 100000, digits = 0;
    for (*micros_out = 0; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++, digits++) {
        *micros_out += (*scan->at - '0') * scale;
        scale /= 10;
    }
    return digits >= 1 && digits <= 9;
}

static bool offset_scan(struct scan *scan, int *minutes_out)
{
    char sign;
    int hours, minutes;
    *minutes_out = 0;
    if (!char_scan(scan, "Zz+-", &sign))
        return false;
    if (sign == 'Z' || sign == 'z')
        return true;
    if (!number_scan(scan, 2, 0, 23, &hours) || !char_scan(scan, ":", &(char){0}) ||
        !number_scan(scan, 2, 0, 59, &minutes))
        return false;
    *minutes_out = (hours * 60 + minutes) * (sign == '-' ? -1 : 1);
    return true;
}

static int days_in_month(int year, int month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

bool kap_time_parse(struct kap_bytes text, int64_t *unix_us_out)
{
    struct scan scan = {text.data, text.data + text.len};
    int year, month, day, hour, minute, second, micros = 0, offset;
    char found;
    bool date = number_scan(&scan, 4, 1, 9999, &year) && char_scan(&scan, "-", &found) &&
                number_scan(&scan, 2, 1, 12, &month) && char_scan(&scan, "-", &found) &&
                number_scan(&scan, 2, 1, 31, &day) && day <= days_in_month(year, month);
    if (!date || !char_scan(&scan, "Tt ", &found))
        return false;
    bool time = number_scan(&scan, 2, 0, 23, &hour) && char_scan(&scan, ":", &found) &&
                number_scan(&scan, 2, 0, 59, &minute) && char_scan(&scan, ":", &found) &&
                number_scan(&scan, 2, 0, 59, &second);
    if (!time)
        return false;
    if (scan.at < scan.end && *scan.at == '.') {
        scan.at++;
        if (!fraction_scan(&scan, &micros))
            return false;
    }
    if (!offset_scan(&scan, &offset) || scan.at != scan.end)
        return false;
    int64_t seconds = days_of_date(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second - offset * 60;
    *unix_us_out = seconds * SECOND_US + micros;
    return true;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void kap_base64_print(struct kap_bytes bytes, struct kap_buffer *out)
{
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = KAP_MIN(bytes.len - i, (size_t)3);
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        group |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        group |= left > 2 ? bytes.data[i + 2] : 0;
        for (size_t n = 0; n < 4; n++)
            kap_buffer_append_u8(out, n <= left ? (uint8_t)base64_digits[group >> (18 - 6 * n) & 63] : '=');
    }
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

struct kap_bytes kap_base64_parse(struct kap_bytes text, struct kap_arena *arena)
{
    const struct kap_bytes nothing = {NULL, 0};
    if (text.len % 4 == 0)
        for (int i = 0; i < 2 && text.len > 0 && text.data[text.len - 1] == '='; i++)
            text.len--;
    uint8_t *out = kap_arena_push_bytes(arena, text.len * 3 / 4 + 1);
    if (!out || text.len % 4 == 1)
        return nothing;
    size_t len = 0;
    uint32_t bits = 0, n_bits = 0;
    for (size_t i = 0; i < text.len; i++) {
        int value = base64_value(text.data[i]);
        if (value < 0)
            return nothing;
        bits = bits << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[len++] = (uint8_t)(bits >> n_bits);
        }
    }
    return kap_bytes(out, len);
}

void kap_hex_print(struct kap_bytes bytes, struct kap_buffer *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        kap_buffer_append_u8(out, (uint8_t)digits[bytes.data[i] >> 4]);
        kap_buffer_append_u8(out, (uint8_t)digits[bytes.data[i] & 15]);
    }
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct kap_bytes kap_hex_parse(struct kap_bytes text, struct kap_arena *arena)
{
    const struct kap_bytes nothing = {NULL, 0};
    uint8_t *out = kap_arena_push_bytes(arena, text.len / 2 + 1);
    if (!out || text.len % 2 != 0)
        return nothing;
    for (size_t i = 0; i < text.len; i += 2) {
        int high = hex_value(text.data[i]), low = hex_value(text.data[i + 1]);
        if (high < 0 || low < 0)
            return nothing;
        out[i / 2] = (uint8_t)(high << 4 | low);
    }
    return kap_bytes(out, text.len / 2);
}
