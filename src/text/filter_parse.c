#include <string.h>

#include "base/text.h"
#include "text/filter_tree.h"

#define EXPECT_VALUE "\"\\\"\", \"`\", \"-\", [0-9], [ \\t\\r\\n] or [a-zA-Z]"
#define EXPECT_OPERATOR                                                                    \
    "\"!=\", \".\", \"==\", \"[\", \"contains\", \"in\", \"is\", \"matches\", \"not\" or " \
    "[a-zA-Z0-9_]"
#define EXPECT_END "\".\", \"[\", [ \\t\\r\\n], [a-zA-Z0-9_] or EOF"

struct parser {
    const char *text, *at;
    const struct filter_root *root;
    struct arena *arena;
    struct error *error;
    unsigned depth;
};

/* One side of a test: a selector that may also be meant as a value, or a value alone. */
struct operand {
    const char *value;
    const char *words[FILTER_STEPS_MAX];
    size_t word_count; /* 0: no selector */
};

static struct filter *parse_or(struct parser *parser);

/* The place and what could have stood there, in the form of Consul's generated parser. */
static bool fail(struct parser *parser, const char *expected)
{
    size_t line = 1, column = 1;
    for (const char *at = parser->text; at < parser->at; at++, column++) {
        if (*at == '\n') {
            line++;
            column = 0;
        }
    }
    return error_set(parser->error, ERR_INTERNAL, "%zu:%zu (%zu): no match found, expected: %s",
                     line, column, (size_t)(parser->at - parser->text), expected);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_letter(c) || is_digit(c) || c == '_';
}

static void skip_blanks(struct parser *parser)
{
    while (is_blank(*parser->at))
        parser->at++;
}

/* Takes blanks and the word if it stands there and does not go on. */
static bool take_word(struct parser *parser, const char *word)
{
    const char *before = parser->at;
    skip_blanks(parser);
    size_t length = strlen(word);
    if (strncmp(parser->at, word, length) == 0 && !is_word(parser->at[length])) {
        parser->at += length;
        return true;
    }
    parser->at = before;
    return false;
}

static bool take_symbol(struct parser *parser, const char *symbol)
{
    const char *before = parser->at;
    skip_blanks(parser);
    if (text_starts(parser->at, symbol)) {
        parser->at += strlen(symbol);
        return true;
    }
    parser->at = before;
    return false;
}

/* ---- operands ---- */

static bool unescape(struct buffer *out, char c)
{
    static const char from[] = "nrt\\\"", to[] = "\n\r\t\\\"";
    const char *found = c == '\0' ? NULL : strchr(from, c);
    if (found != NULL)
        buffer_add_byte(out, to[found - from]);
    return found != NULL;
}

static const char *parse_quoted(struct parser *parser)
{
    char quote = *parser->at;
    const char *start = parser->at;
    struct buffer out = {0};
    bool fine = true;
    for (parser->at++; *parser->at != quote && *parser->at != '\0' && fine; parser->at++) {
        if (quote == '"' && *parser->at == '\\')
            fine = unescape(&out, *++parser->at);
        else
            buffer_add_byte(&out, *parser->at);
    }
    const char *text = NULL;
    if (fine && *parser->at == quote) {
        parser->at++;
        text = arena_strdup(parser->arena, buffer_text(&out));
    } else {
        parser->at = start;
        fail(parser, "Unterminated string literal");
    }
    buffer_free(&out);
    return text;
}

static const char *parse_identifier(struct parser *parser)
{
    const char *start = parser->at;
    while (is_word(*parser->at))
        parser->at++;
    return arena_strndup(parser->arena, start, (size_t)(parser->at - start));
}

/* The next word of a path; NULL if it ends here, or, with `error` filled, if it is broken. */
static const char *parse_path_word(struct parser *parser)
{
    if (*parser->at == '.' && is_word(parser->at[1])) {
        parser->at++;
        return parse_identifier(parser);
    }
    if (*parser->at != '[')
        return NULL;
    parser->at++;
    skip_blanks(parser);
    if (*parser->at != '"' && *parser->at != '`') {
        fail(parser, "\"\\\"\", \"`\" or [ \\t\\r\\n]");
        return NULL;
    }
    const char *key = parse_quoted(parser);
    if (key == NULL)
        return NULL;
    skip_blanks(parser);
    if (*parser->at != ']') {
        fail(parser, "\"]\" or [ \\t\\r\\n]");
        return NULL;
    }
    parser->at++;
    return key;
}

static bool parse_path(struct parser *parser, struct operand *operand)
{
    const char *start = parser->at;
    const char *word = parse_identifier(parser);
    while (word != NULL) {
        if (operand->word_count == FILTER_STEPS_MAX)
            return error_set(parser->error, ERR_INVALID, "a selector has more than %d parts",
                             FILTER_STEPS_MAX);
        operand->words[operand->word_count++] = word;
        bool goes_on = *parser->at == '[';
        word = parse_path_word(parser);
        if (word == NULL && goes_on)
            return false;
    }
    operand->value = arena_strndup(parser->arena, start, (size_t)(parser->at - start));
    return true;
}

static bool parse_number(struct parser *parser, struct operand *operand)
{
    const char *start = parser->at;
    if (*parser->at == '-')
        parser->at++;
    while (is_digit(*parser->at))
        parser->at++;
    if (*parser->at == '.' && is_digit(parser->at[1])) {
        for (parser->at++; is_digit(*parser->at);)
            parser->at++;
    }
    if (!is_digit(parser->at[-1]))
        return fail(parser, "[0-9]");
    if (*parser->at != '\0' && *parser->at != ')' && !is_blank(*parser->at))
        return fail(parser, "\")\", \".\", [ \\t\\r\\n], [0-9] or EOF");
    operand->value = arena_strndup(parser->arena, start, (size_t)(parser->at - start));
    return true;
}

static bool parse_operand(struct parser *parser, struct operand *operand)
{
    skip_blanks(parser);
    char c = *parser->at;
    if (c == '"' || c == '`')
        return (operand->value = parse_quoted(parser)) != NULL;
    if (is_letter(c))
        return parse_path(parser, operand);
    if (c == '-' || is_digit(c))
        return parse_number(parser, operand);
    return fail(parser, EXPECT_VALUE);
}

/* ---- tests ---- */

/* `swapped`: the value stands in front, and the selector follows. */
static bool parse_operator(struct parser *parser, struct filter *test, bool *ret_swapped)
{
    if (take_symbol(parser, "==")) {
        test->operator= FILTER_EQUAL;
        return true;
    }
    if (take_symbol(parser, "!=")) {
        test->operator= FILTER_EQUAL;
        test->negated = true;
        return true;
    }
    if (take_word(parser, "is")) {
        test->negated = take_word(parser, "not");
        test->operator= FILTER_EMPTY;
        return take_word(parser, "empty") || fail(parser, "\"empty\" or \"not\"");
    }
    test->negated = take_word(parser, "not");
    if (take_word(parser, "in")) {
        test->operator= FILTER_IN;
        *ret_swapped = true;
        return true;
    }
    if (take_word(parser, "contains")) {
        test->operator= FILTER_IN;
        return true;
    }
    test->operator= FILTER_MATCHES;
    return take_word(parser, "matches") || fail(parser, EXPECT_OPERATOR);
}

static bool parse_test_sides(struct parser *parser, struct filter *test)
{
    struct operand first = {0}, second = {0};
    bool swapped = false;
    if (!parse_operand(parser, &first) || !parse_operator(parser, test, &swapped))
        return false;
    if (test->operator!= FILTER_EMPTY && !parse_operand(parser, &second))
        return false;
    const struct operand *selector = swapped ? &second : &first;
    const struct operand *value = swapped ? &first : &second;
    if (selector->word_count == 0)
        return error_set(parser->error, ERR_INVALID, "Invalid selector");
    test->text = value->value;
    return filter_resolve(test, parser->root, selector->words, selector->word_count, parser->arena,
                          parser->error) &&
           filter_finish_test(test, selector->value, parser->arena, parser->error);
}

static struct filter *new_node(struct parser *parser, enum filter_kind kind, struct filter *left,
                               struct filter *right)
{
    struct filter *node = arena_alloc(parser->arena, sizeof *node);
    node->kind = kind;
    node->left = left;
    node->right = right;
    return node;
}

static struct filter *parse_test(struct parser *parser)
{
    struct filter *test = new_node(parser, FILTER_TEST, NULL, NULL);
    return parse_test_sides(parser, test) ? test : NULL;
}

/* ---- and, or, not ---- */

static struct filter *parse_inner(struct parser *parser)
{
    if (take_word(parser, "not")) {
        struct filter *inner = parse_inner(parser);
        return inner == NULL ? NULL : new_node(parser, FILTER_NOT, inner, NULL);
    }
    if (!take_symbol(parser, "("))
        return parse_test(parser);
    if (++parser->depth > FILTER_DEPTH_MAX) {
        error_set(parser->error, ERR_INVALID, "nested deeper than %d levels", FILTER_DEPTH_MAX);
        return NULL;
    }
    struct filter *inner = parse_or(parser);
    parser->depth--;
    if (inner != NULL && !take_symbol(parser, ")")) {
        error_set(parser->error, ERR_INVALID, "Unmatched parentheses");
        return NULL;
    }
    return inner;
}

static struct filter *parse_and(struct parser *parser)
{
    struct filter *left = parse_inner(parser);
    while (left != NULL && take_word(parser, "and")) {
        struct filter *right = parse_inner(parser);
        left = right == NULL ? NULL : new_node(parser, FILTER_AND, left, right);
    }
    return left;
}

static struct filter *parse_or(struct parser *parser)
{
    struct filter *left = parse_and(parser);
    while (left != NULL && take_word(parser, "or")) {
        struct filter *right = parse_and(parser);
        left = right == NULL ? NULL : new_node(parser, FILTER_OR, left, right);
    }
    return left;
}

struct filter *filter_parse(const char *text, const struct filter_root *root, struct arena *arena,
                            struct error *error)
{
    struct error failure = {0};
    struct parser parser = {text, text, root, arena, &failure, 0};
    struct filter *filter = NULL;
    if (strlen(text) > FILTER_LENGTH_MAX)
        error_set(&failure, ERR_TOO_LARGE, "longer than %d bytes", FILTER_LENGTH_MAX);
    else
        filter = parse_or(&parser);
    skip_blanks(&parser);
    if (filter != NULL && *parser.at != '\0') {
        fail(&parser, EXPECT_END);
        filter = NULL;
    }
    if (filter == NULL) {
        error_set(error, ERR_INTERNAL, "Failed to create boolean expression evaluator: %s",
                  failure.message);
        return NULL;
    }
    return filter;
}
