#include "base/ident.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/buffer.h"
#include "base/memory.h"

void random_bytes(void *bytes, size_t length)
{
    uint8_t *at = bytes;
    while (length > 0) {
        ssize_t got = getrandom(at, length, 0);
        if (got < 0)
            continue; /* only EINTR can happen here */
        at += got;
        length -= (size_t)got;
    }
}

char *hex_encode(const uint8_t *bytes, size_t length, char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * length] = '\0';
    return text;
}

char *uuid_generate(char *text)
{
    uint8_t bytes[16];
    char hex[33];
    random_bytes(bytes, sizeof bytes);
    hex_encode(bytes, sizeof bytes, hex);
    snprintf(text, UUID_TEXT_MAX, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
             hex + 20);
    return text;
}

bool uuid_valid(const char *text)
{
    if (text == NULL || strlen(text) != 36)
        return false;
    for (int i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f') ||
                   (text[i] >= 'A' && text[i] <= 'F');
        if (dash ? text[i] != '-' : !hex)
            return false;
    }
    return true;
}

void sha256(const void *data, size_t length, uint8_t digest[SHA256_SIZE])
{
    EVP_Digest(data, length, digest, NULL, EVP_sha256(), NULL);
}

char *base64_encode(const void *bytes, size_t length)
{
    char *text = mem_alloc((length + 2) / 3 * 4 + 1);
    EVP_EncodeBlock((unsigned char *)text, bytes, (int)length);
    return text;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(const char *text, uint8_t **ret_bytes, size_t *ret_length, struct error *error)
{
    struct buffer out = {0};
    int group[4], filled = 0, padding = 0;
    size_t at = 0;
    for (; text[at] != '\0'; at++) {
        char c = text[at];
        if (c == '\r' || c == '\n')
            continue;
        int value = base64_value(c);
        bool pads = c == '=' && filled >= 2 && filled < 4;
        if (padding == 0 ? value < 0 && !pads : !(c == '=' && filled > 0))
            goto illegal;
        if (c == '=')
            padding++;
        group[filled++] = value < 0 ? 0 : value;
        if (filled == 4) {
            buffer_add_byte(&out, (char)(group[0] << 2 | group[1] >> 4));
            if (padding < 2)
                buffer_add_byte(&out, (char)(group[1] << 4 | group[2] >> 2));
            if (padding < 1)
                buffer_add_byte(&out, (char)(group[2] << 6 | group[3]));
            filled = 0;
        }
    }
    if (filled != 0) {
        at -= (size_t)filled; /* Go names the start of the group that is cut off */
        goto illegal;
    }
    *ret_length = out.length;
    *ret_bytes = (uint8_t *)buffer_take(&out);
    return true;
illegal:
    mem_clear(out.data, out.length);
    buffer_free(&out);
    return error_set(error, ERR_INVALID, "illegal base64 data at input byte %zu", at);
}

bool secret_equal(const char *secret, const char *given)
{
    if (secret == NULL || given == NULL || *secret == '\0')
        return false;
    size_t length = strlen(given);
    return strlen(secret) == length && CRYPTO_memcmp(secret, given, length) == 0;
}
