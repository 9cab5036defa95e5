#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Cuts a half UTF-8 character off the end that vsnprintf may have left. */
static void trim_partial_character(char *text)
{
    size_t end = strlen(text);
    size_t start = end;
    while (start > 0 && end - start < 3 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (want > end - start + 1)
        text[start - 1] = '\0';
}

void error_fill(struct error *error, enum error_code code, const char *format, ...)
{
    if (error == NULL)
        return;
    char message[ERROR_MESSAGE_MAX]; /* the arguments may point into error->message */
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    trim_partial_character(message);
    error->code = code;
    memcpy(error->message, message, strlen(message) + 1);
}

void error_prefix(struct error *error, const char *format, ...)
{
    if (error == NULL)
        return;
    char prefix[ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    error_set(error, error->code, "%s%s", prefix, error->message);
}
