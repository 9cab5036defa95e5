#include "text/pattern.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define DEPTH_MAX 32
#define REPEAT_MAX 1000
#define PROGRAM_MAX 512
#define STEPS_MAX 4096 /* of expanding repetitions, which may be of nothing */
#define UNBOUNDED (-1)

/* A set of bytes. */
struct bytes {
    uint64_t bits[4];
};

enum op { OP_BYTES, OP_SPLIT, OP_JUMP, OP_BEGIN, OP_END, OP_WORD_EDGE, OP_NO_WORD_EDGE, OP_MATCH };

struct instruction {
    enum op op;
    int x, y; /* where SPLIT and JUMP go on */
    struct bytes bytes;
};

struct pattern {
    int length;
    struct instruction program[]; /* PROGRAM_MAX while it is made, then `length` */
};

enum kind {
    NODE_EMPTY,
    NODE_BYTES,
    NODE_WIDE,
    NODE_ASSERTION,
    NODE_BOTH,
    NODE_EITHER,
    NODE_REPEAT
};

struct node {
    enum kind kind;
    enum op assertion;
    struct bytes bytes; /* WIDE: first bytes of a character, which its further bytes follow */
    struct node *left, *right;
    int least, most;
};

struct compiler {
    const char *text, *at;
    struct arena *arena;
    struct error *error;
    bool any_case;
    int depth, steps;
    struct pattern *pattern;
};

static struct node *parse_either(struct compiler *compiler);

/* ---- sets ---- */

static void add(struct bytes *set, int low, int high)
{
    for (int c = low; c <= high; c++)
        set->bits[c >> 6] |= UINT64_C(1) << (c & 63);
}

static bool has(const struct bytes *set, unsigned char c)
{
    return (set->bits[c >> 6] >> (c & 63)) & 1;
}

static void add_all(struct bytes *set, const struct bytes *other)
{
    for (size_t i = 0; i < 4; i++)
        set->bits[i] |= other->bits[i];
}

/* The other ASCII characters, and with them the first bytes of all others. */
static void invert(struct bytes *set)
{
    struct bytes outside = {{~set->bits[0], ~set->bits[1], 0, 0}};
    add(&outside, 0xc0, 0xff);
    *set = outside;
}

static void fold_case(struct bytes *set)
{
    for (int c = 'a'; c <= 'z'; c++) {
        if (has(set, (unsigned char)c) || has(set, (unsigned char)(c - 32))) {
            add(set, c, c);
            add(set, c - 32, c - 32);
        }
    }
}

/* \d, \w, \s and their opposites. `ret_inverted`: also matches what is not ASCII. */
static bool class_of(char c, struct bytes *ret_set, bool *ret_inverted)
{
    struct bytes set = {{0}};
    switch (c | 32) {
    case 'd':
        add(&set, '0', '9');
        break;
    case 'w':
        add(&set, '0', '9');
        add(&set, 'A', 'Z');
        add(&set, '_', '_');
        add(&set, 'a', 'z');
        break;
    case 's':
        add(&set, '\t', '\n');
        add(&set, '\f', '\r');
        add(&set, ' ', ' ');
        break;
    default:
        return false;
    }
    *ret_inverted = c < 'a';
    if (*ret_inverted)
        invert(&set);
    *ret_set = set;
    return true;
}

/* ---- parsing ---- */

static struct node *fail(struct compiler *compiler, const char *words)
{
    error_set(compiler->error, ERR_INVALID, "error parsing regexp: %s: `%s`", words, compiler->at);
    return NULL;
}

static struct node *new_node(struct compiler *compiler, enum kind kind)
{
    struct node *node = arena_alloc(compiler->arena, sizeof *node);
    node->kind = kind;
    return node;
}

static struct node *set_node(struct compiler *compiler, struct bytes set, bool wide)
{
    struct node *node = new_node(compiler, wide ? NODE_WIDE : NODE_BYTES);
    if (compiler->any_case)
        fold_case(&set);
    node->bytes = set;
    return node;
}

static struct node *byte_node(struct compiler *compiler, char c)
{
    struct bytes set = {{0}};
    add(&set, (unsigned char)c, (unsigned char)c);
    return set_node(compiler, set, false);
}

static struct node *assertion_node(struct compiler *compiler, enum op assertion)
{
    struct node *node = new_node(compiler, NODE_ASSERTION);
    node->assertion = assertion;
    return node;
}

/* What a backslash and a letter stand for as one character; a letter with no meaning gives 0. */
static char escaped(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case 'r':
        return '\r';
    default:
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? '\0'
                                                                                          : c;
    }
}

static struct node *parse_escape(struct compiler *compiler)
{
    char c = compiler->at[1];
    struct bytes set;
    bool inverted;
    if (c == 'b' || c == 'B') {
        compiler->at += 2;
        return assertion_node(compiler, c == 'b' ? OP_WORD_EDGE : OP_NO_WORD_EDGE);
    }
    if (class_of(c, &set, &inverted)) {
        compiler->at += 2;
        return set_node(compiler, set, inverted);
    }
    if (escaped(c) == '\0')
        return fail(compiler, c == '\0' ? "trailing backslash" : "invalid escape sequence");
    compiler->at += 2;
    return byte_node(compiler, escaped(c));
}

static const struct {
    const char *name;
    const char *ranges; /* pairs of ends */
} named_classes[] = {
    {"[:alnum:]", "09AZaz"},  {"[:alpha:]", "AZaz"},    {"[:digit:]", "09"},
    {"[:lower:]", "az"},      {"[:upper:]", "AZ"},      {"[:space:]", "\t\r  "},
    {"[:word:]", "09AZaz__"}, {"[:xdigit:]", "09AFaf"}, {"[:punct:]", "!/:@[`{~"},
};

static bool take_named_class(struct compiler *compiler, struct bytes *set)
{
    for (size_t i = 0; i < sizeof named_classes / sizeof named_classes[0]; i++) {
        if (!text_starts(compiler->at, named_classes[i].name))
            continue;
        compiler->at += strlen(named_classes[i].name);
        for (const char *range = named_classes[i].ranges; *range != '\0'; range += 2)
            add(set, range[0], range[1]);
        return true;
    }
    return false;
}

/* One character of a class, which may be the end of a range; -1 if there is none. */
static int class_character(struct compiler *compiler)
{
    char c = *compiler->at;
    if (c == '\0' || (c & 0x80) != 0)
        return -1;
    if (c != '\\') {
        compiler->at++;
        return c;
    }
    c = escaped(compiler->at[1]);
    if (c == '\0')
        return -1;
    compiler->at += 2;
    return c;
}

static bool parse_class_item(struct compiler *compiler, struct bytes *set, bool *wide)
{
    struct bytes part;
    bool inverted;
    if (take_named_class(compiler, set))
        return true;
    if (*compiler->at == '\\' && class_of(compiler->at[1], &part, &inverted)) {
        compiler->at += 2;
        add_all(set, &part);
        *wide |= inverted;
        return true;
    }
    int low = class_character(compiler), high = low;
    if (low >= 0 && compiler->at[0] == '-' && compiler->at[1] != ']' && compiler->at[1] != '\0') {
        compiler->at++;
        high = class_character(compiler);
    }
    if (low < 0 || high < low) {
        fail(compiler, "invalid character class");
        return false;
    }
    add(set, low, high);
    return true;
}

static struct node *parse_class(struct compiler *compiler)
{
    struct bytes set = {{0}};
    bool wide = false;
    compiler->at++;
    bool negated = *compiler->at == '^';
    compiler->at += negated;
    bool first = true;
    while (first || *compiler->at != ']') {
        if (*compiler->at == '\0')
            return fail(compiler, "missing closing ]");
        if (!parse_class_item(compiler, &set, &wide))
            return NULL;
        first = false;
    }
    compiler->at++;
    if (compiler->any_case)
        fold_case(&set);
    if (negated)
        invert(&set);
    return set_node(compiler, set, negated || wide);
}

static struct node *parse_group(struct compiler *compiler)
{
    if (compiler->at[1] == '?' && !text_starts(compiler->at, "(?:"))
        return fail(compiler, "invalid or unsupported Perl syntax");
    if (++compiler->depth > DEPTH_MAX)
        return fail(compiler, "expression nests too deeply");
    compiler->at += compiler->at[1] == '?' ? 3 : 1;
    struct node *inner = parse_either(compiler);
    compiler->depth--;
    if (inner != NULL && *compiler->at != ')')
        return fail(compiler, "missing closing )");
    compiler->at += inner != NULL;
    return inner;
}

static struct node *parse_atom(struct compiler *compiler)
{
    char c = *compiler->at;
    struct bytes line_break = {{0}};
    switch (c) {
    case '(':
        return parse_group(compiler);
    case '[':
        return parse_class(compiler);
    case '\\':
        return parse_escape(compiler);
    case '*':
    case '+':
    case '?':
        return fail(compiler, "missing argument to repetition operator");
    case '^':
    case '$':
        compiler->at++;
        return assertion_node(compiler, c == '^' ? OP_BEGIN : OP_END);
    case '.':
        compiler->at++;
        add(&line_break, '\n', '\n');
        invert(&line_break);
        return set_node(compiler, line_break, true);
    default:
        compiler->at++;
        return byte_node(compiler, c);
    }
}

/* {m}, {m,} or {m,n}; anything else that begins with a brace is meant as it stands. */
static bool take_counts(struct compiler *compiler, int *ret_least, int *ret_most)
{
    const char *at = compiler->at + 1;
    char *end;
    if (*at < '0' || *at > '9')
        return false;
    unsigned long least = strtoul(at, &end, 10), most = least;
    bool open = false;
    if (*end == ',') {
        at = end + 1;
        open = *at == '}';
        if (!open && (*at < '0' || *at > '9'))
            return false;
        most = strtoul(at, &end, 10);
    }
    if (*end != '}')
        return false;
    compiler->at = end + 1;
    *ret_least = least > REPEAT_MAX ? REPEAT_MAX + 1 : (int)least;
    *ret_most = open ? UNBOUNDED : most > REPEAT_MAX ? REPEAT_MAX + 1 : (int)most;
    return true;
}

static bool take_repetition(struct compiler *compiler, int *ret_least, int *ret_most)
{
    static const char marks[] = "*+?";
    static const int counts[][2] = {{0, UNBOUNDED}, {1, UNBOUNDED}, {0, 1}};
    const char *mark = *compiler->at == '\0' ? NULL : strchr(marks, *compiler->at);
    if (mark != NULL) {
        compiler->at++;
        *ret_least = counts[mark - marks][0];
        *ret_most = counts[mark - marks][1];
    } else if (*compiler->at != '{' || !take_counts(compiler, ret_least, ret_most)) {
        return false;
    }
    if (*compiler->at == '?') /* lazy: the same for a match that has no extent */
        compiler->at++;
    return true;
}

static struct node *parse_repeat(struct compiler *compiler)
{
    struct node *atom = parse_atom(compiler);
    int least, most;
    if (atom == NULL || !take_repetition(compiler, &least, &most))
        return atom;
    if (least > REPEAT_MAX || most > REPEAT_MAX || (most != UNBOUNDED && most < least))
        return fail(compiler, "invalid repeat count");
    struct node *repeat = new_node(compiler, NODE_REPEAT);
    repeat->left = atom;
    repeat->least = least;
    repeat->most = most;
    if (take_repetition(compiler, &least, &most))
        return fail(compiler, "invalid nested repetition operator");
    return repeat;
}

static struct node *join(struct compiler *compiler, enum kind kind, struct node *left,
                         struct node *right)
{
    struct node *node = new_node(compiler, kind);
    node->left = left;
    node->right = right;
    return node;
}

static struct node *parse_both(struct compiler *compiler)
{
    struct node *all = new_node(compiler, NODE_EMPTY);
    while (*compiler->at != '\0' && *compiler->at != '|' && *compiler->at != ')') {
        struct node *next = parse_repeat(compiler);
        if (next == NULL)
            return NULL;
        all = join(compiler, NODE_BOTH, all, next);
    }
    return all;
}

static struct node *parse_either(struct compiler *compiler)
{
    struct node *either = parse_both(compiler);
    while (either != NULL && *compiler->at == '|') {
        compiler->at++;
        struct node *other = parse_both(compiler);
        if (other == NULL)
            return NULL;
        either = join(compiler, NODE_EITHER, either, other);
    }
    return either;
}

/* ---- the program ---- */

/* Gives the instruction's place; past the end of the program nothing is written. */
static int emit(struct compiler *compiler, enum op op, int x, int y)
{
    struct pattern *pattern = compiler->pattern;
    if (pattern->length == PROGRAM_MAX) {
        compiler->steps = STEPS_MAX;
        return PROGRAM_MAX - 1;
    }
    pattern->program[pattern->length] = (struct instruction){.op = op, .x = x, .y = y};
    return pattern->length++;
}

static void emit_bytes(struct compiler *compiler, struct bytes set)
{
    int at = emit(compiler, OP_BYTES, 0, 0);
    compiler->pattern->program[at].bytes = set;
}

static void emit_node(struct compiler *compiler, const struct node *node);

/* The further bytes of a character beyond ASCII. */
static void emit_wide(struct compiler *compiler, struct bytes set)
{
    struct bytes further = {{0}};
    add(&further, 0x80, 0xbf);
    emit_bytes(compiler, set);
    int split = emit(compiler, OP_SPLIT, 0, 0);
    emit_bytes(compiler, further);
    emit(compiler, OP_JUMP, split, 0);
    compiler->pattern->program[split].x = split + 1;
    compiler->pattern->program[split].y = compiler->pattern->length;
}

static void emit_repeat(struct compiler *compiler, const struct node *node)
{
    struct instruction *program = compiler->pattern->program;
    for (int i = 0; i < node->least && compiler->steps < STEPS_MAX; i++)
        emit_node(compiler, node->left);
    if (node->most == UNBOUNDED) {
        int split = emit(compiler, OP_SPLIT, 0, 0);
        emit_node(compiler, node->left);
        emit(compiler, OP_JUMP, split, 0);
        program[split].x = split + 1;
        program[split].y = compiler->pattern->length;
        return;
    }
    for (int i = node->least; i < node->most && compiler->steps < STEPS_MAX; i++) {
        int split = emit(compiler, OP_SPLIT, 0, 0);
        emit_node(compiler, node->left);
        program[split].x = split + 1;
        program[split].y = compiler->pattern->length;
    }
}

static void emit_either(struct compiler *compiler, const struct node *node)
{
    struct instruction *program = compiler->pattern->program;
    int split = emit(compiler, OP_SPLIT, 0, 0);
    emit_node(compiler, node->left);
    int jump = emit(compiler, OP_JUMP, 0, 0);
    program[split].x = split + 1;
    program[split].y = compiler->pattern->length;
    emit_node(compiler, node->right);
    program[jump].x = compiler->pattern->length;
}

static void emit_node(struct compiler *compiler, const struct node *node)
{
    if (compiler->steps >= STEPS_MAX)
        return;
    compiler->steps++;
    switch (node->kind) {
    case NODE_EMPTY:
        break;
    case NODE_BYTES:
        emit_bytes(compiler, node->bytes);
        break;
    case NODE_WIDE:
        emit_wide(compiler, node->bytes);
        break;
    case NODE_ASSERTION:
        emit(compiler, node->assertion, 0, 0);
        break;
    case NODE_BOTH:
        emit_node(compiler, node->left);
        emit_node(compiler, node->right);
        break;
    case NODE_EITHER:
        emit_either(compiler, node);
        break;
    case NODE_REPEAT:
        emit_repeat(compiler, node);
        break;
    }
}

struct pattern *pattern_compile(const char *text, struct arena *arena, struct error *error)
{
    struct compiler compiler = {.text = text, .at = text, .arena = arena, .error = error};
    if (strlen(text) > PATTERN_LENGTH_MAX) {
        error_set(error, ERR_INVALID, "error parsing regexp: longer than %d bytes",
                  PATTERN_LENGTH_MAX);
        return NULL;
    }
    if (text_starts(text, "(?i)")) {
        compiler.any_case = true;
        compiler.at += 4;
    }
    struct node *node = parse_either(&compiler);
    if (node == NULL)
        return NULL;
    if (*compiler.at != '\0') {
        fail(&compiler, "unexpected )");
        return NULL;
    }
    struct pattern *made = mem_zalloc(sizeof *made + PROGRAM_MAX * sizeof(struct instruction));
    compiler.pattern = made;
    emit_node(&compiler, node);
    emit(&compiler, OP_MATCH, 0, 0);
    struct pattern *pattern = NULL;
    if (compiler.steps < STEPS_MAX)
        pattern = arena_dup(arena, made,
                            sizeof *made + (size_t)made->length * sizeof(struct instruction));
    else
        error_set(error, ERR_INVALID, "error parsing regexp: expression is too large");
    free(made);
    return pattern;
}

/* ---- matching ---- */

struct states {
    int count;
    int items[PROGRAM_MAX];
    bool member[PROGRAM_MAX];
};

struct matcher {
    const struct pattern *pattern;
    const char *text, *at;
    bool matched;
    int stack[2 * PROGRAM_MAX + 2];
};

static bool is_word(const char *text, const char *at)
{
    return at >= text &&
           (*at == '_' || (*at >= '0' && *at <= '9') || ((*at | 32) >= 'a' && (*at | 32) <= 'z'));
}

static bool assertion_holds(const struct matcher *matcher, enum op op)
{
    bool edge = is_word(matcher->text, matcher->at - 1) != is_word(matcher->text, matcher->at);
    return op == OP_BEGIN       ? matcher->at == matcher->text
           : op == OP_END       ? *matcher->at == '\0'
           : op == OP_WORD_EDGE ? edge
                                : !edge;
}

/* Adds a state and all that it leads to without taking a byte. Each state is entered once, and
 * pushes two at most. */
static void enter(struct matcher *matcher, struct states *states, int first)
{
    int depth = 0;
    matcher->stack[depth++] = first;
    while (depth > 0) {
        int at = matcher->stack[--depth];
        if (states->member[at])
            continue;
        states->member[at] = true;
        const struct instruction *instruction = &matcher->pattern->program[at];
        switch (instruction->op) {
        case OP_BYTES:
            states->items[states->count++] = at;
            break;
        case OP_MATCH:
            matcher->matched = true;
            return;
        case OP_SPLIT:
            matcher->stack[depth++] = instruction->y;
            matcher->stack[depth++] = instruction->x;
            break;
        case OP_JUMP:
            matcher->stack[depth++] = instruction->x;
            break;
        default:
            if (assertion_holds(matcher, instruction->op))
                matcher->stack[depth++] = at + 1;
        }
    }
}

bool pattern_match(const struct pattern *pattern, const char *text)
{
    struct matcher matcher = {.pattern = pattern, .text = text, .at = text};
    struct states sets[2], *now = &sets[0], *next = &sets[1];
    size_t length = (size_t)pattern->length;
    now->count = 0;
    memset(now->member, 0, length * sizeof now->member[0]);
    for (;;) {
        enter(&matcher, now, 0);
        if (matcher.matched || *matcher.at == '\0')
            return matcher.matched;
        unsigned char c = (unsigned char)*matcher.at++;
        next->count = 0;
        memset(next->member, 0, length * sizeof next->member[0]);
        for (int i = 0; i < now->count && !matcher.matched; i++) {
            if (has(&pattern->program[now->items[i]].bytes, c))
                enter(&matcher, next, now->items[i] + 1);
        }
        struct states *swap = now;
        now = next;
        next = swap;
    }
}
