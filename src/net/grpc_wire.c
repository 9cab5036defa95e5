#include "net/grpc_wire.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/ident.h"
#include "base/memory.h"
#include "base/text.h"

#define MS_PER_YEAR (UINT64_C(365) * 24 * 3600 * 1000)

static const char *const code_names[] = {
    [GRPC_OK] = "OK",
    [GRPC_CANCELLED] = "Canceled",
    [GRPC_UNKNOWN] = "Unknown",
    [GRPC_INVALID_ARGUMENT] = "InvalidArgument",
    [GRPC_DEADLINE_EXCEEDED] = "DeadlineExceeded",
    [GRPC_NOT_FOUND] = "NotFound",
    [GRPC_ALREADY_EXISTS] = "AlreadyExists",
    [GRPC_PERMISSION_DENIED] = "PermissionDenied",
    [GRPC_RESOURCE_EXHAUSTED] = "ResourceExhausted",
    [GRPC_FAILED_PRECONDITION] = "FailedPrecondition",
    [GRPC_ABORTED] = "Aborted",
    [GRPC_OUT_OF_RANGE] = "OutOfRange",
    [GRPC_UNIMPLEMENTED] = "Unimplemented",
    [GRPC_INTERNAL] = "Internal",
    [GRPC_UNAVAILABLE] = "Unavailable",
    [GRPC_DATA_LOSS] = "DataLoss",
    [GRPC_UNAUTHENTICATED] = "Unauthenticated",
};

const char *grpc_code_name(enum grpc_code code)
{
    return (unsigned)code <= GRPC_UNAUTHENTICATED ? code_names[code] : "Unknown";
}

enum grpc_code grpc_code_of_error(enum error_code code)
{
    switch (code) {
    case ERR_NONE:
        return GRPC_OK;
    case ERR_INVALID:
        return GRPC_INVALID_ARGUMENT;
    case ERR_UNAUTHENTICATED:
        return GRPC_UNAUTHENTICATED;
    case ERR_DENIED:
        return GRPC_PERMISSION_DENIED;
    case ERR_NOT_FOUND:
        return GRPC_NOT_FOUND;
    case ERR_CONFLICT:
    case ERR_ABORTED:
        return GRPC_ABORTED;
    case ERR_TOO_LARGE:
    case ERR_EXHAUSTED:
        return GRPC_RESOURCE_EXHAUSTED;
    case ERR_PRECONDITION:
        return GRPC_FAILED_PRECONDITION;
    case ERR_UNAVAILABLE:
    case ERR_CLOSED:
    case ERR_IO:
        return GRPC_UNAVAILABLE;
    case ERR_TIMEOUT:
        return GRPC_DEADLINE_EXCEEDED;
    case ERR_UNSUPPORTED:
        return GRPC_UNIMPLEMENTED;
    case ERR_INTERNAL:
        return GRPC_INTERNAL;
    }
    return GRPC_UNKNOWN;
}

char *grpc_message_encode(const char *message)
{
    static const char hex[] = "0123456789ABCDEF";
    char *text = mem_alloc(GRPC_MESSAGE_MAX + 1);
    size_t length = 0, boundary = 0;
    const unsigned char *byte = (const unsigned char *)message;
    for (; *byte != '\0' && length + 3 <= GRPC_MESSAGE_MAX; byte++) {
        if ((*byte & 0xc0) != 0x80)
            boundary = length;
        if (*byte >= 0x20 && *byte <= 0x7e && *byte != '%') {
            text[length++] = (char)*byte;
        } else {
            text[length++] = '%';
            text[length++] = hex[*byte >> 4];
            text[length++] = hex[*byte & 15];
        }
    }
    if ((*byte & 0xc0) == 0x80) /* cut inside of a character: leave it out */
        length = boundary;
    text[length] = '\0';
    return mem_realloc(text, length + 1);
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

char *grpc_message_decode(const char *text)
{
    char *message = mem_alloc(strlen(text) + 1);
    char *end = message;
    while (*text != '\0') {
        int high = text[0] == '%' ? hex_digit(text[1]) : -1;
        int low = high >= 0 ? hex_digit(text[2]) : -1;
        if (low >= 0 && (high != 0 || low != 0)) {
            *end++ = (char)(high << 4 | low);
            text += 3;
        } else {
            *end++ = *text++;
        }
    }
    *end = '\0';
    return message;
}

char *grpc_binary_encode(const void *bytes, size_t length)
{
    char *text = base64_encode(bytes, length);
    size_t end = strlen(text);
    while (end > 0 && text[end - 1] == '=')
        text[--end] = '\0';
    return text;
}

bool grpc_binary_decode(const char *text, uint8_t **ret_bytes, size_t *ret_length)
{
    struct buffer padded = {0};
    buffer_add_text(&padded, text);
    while (padded.length % 4 != 0)
        buffer_add_byte(&padded, '=');
    bool ok = base64_decode(buffer_text(&padded), ret_bytes, ret_length, NULL);
    buffer_free(&padded);
    return ok;
}

bool grpc_timeout_parse(const char *text, uint64_t *ret_ms)
{
    uint64_t value = 0;
    size_t digits = 0;
    for (; text[digits] >= '0' && text[digits] <= '9' && digits < 8; digits++)
        value = value * 10 + (uint64_t)(text[digits] - '0');
    if (digits == 0 || text[digits] == '\0' || text[digits + 1] != '\0')
        return false;
    switch (text[digits]) {
    case 'H':
        value *= 3600 * 1000;
        break;
    case 'M':
        value *= 60 * 1000;
        break;
    case 'S':
        value *= 1000;
        break;
    case 'm':
        break;
    case 'u':
        value = (value + 999) / 1000;
        break;
    case 'n':
        value = (value + 999999) / 1000000;
        break;
    default:
        return false;
    }
    *ret_ms = value < MS_PER_YEAR ? value : MS_PER_YEAR;
    return true;
}

enum grpc_code grpc_code_parse(const char *text)
{
    uint64_t value = GRPC_UNKNOWN;
    return text_to_u64(text, GRPC_UNAUTHENTICATED, &value) ? (enum grpc_code)value : GRPC_UNKNOWN;
}

enum grpc_code grpc_code_of_http(const char *status)
{
    static const struct {
        const char *status;
        enum grpc_code code;
    } codes[] = {
        {"400", GRPC_INTERNAL},      {"401", GRPC_UNAUTHENTICATED}, {"403", GRPC_PERMISSION_DENIED},
        {"404", GRPC_UNIMPLEMENTED}, {"429", GRPC_UNAVAILABLE},     {"502", GRPC_UNAVAILABLE},
        {"503", GRPC_UNAVAILABLE},   {"504", GRPC_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (text_equal(status, codes[i].status))
            return codes[i].code;
    return GRPC_UNKNOWN;
}

enum grpc_code grpc_code_of_reset(uint32_t http2_code)
{
    switch (http2_code) {
    case NGHTTP2_REFUSED_STREAM:
        return GRPC_UNAVAILABLE;
    case NGHTTP2_CANCEL:
        return GRPC_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return GRPC_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
        return GRPC_PERMISSION_DENIED;
    case NGHTTP2_STREAM_CLOSED:
        return GRPC_UNKNOWN;
    default:
        return GRPC_INTERNAL;
    }
}

bool grpc_content_type_ok(const char *value)
{
    static const char type[] = "application/grpc";
    size_t length = sizeof type - 1;
    return value != NULL && strncmp(value, type, length) == 0 &&
           (value[length] == '\0' || value[length] == '+' || value[length] == ';');
}
