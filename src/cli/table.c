#include "cli/table.h"

#include <stdlib.h>

#include "base/memory.h"
#include "base/text.h"

struct cli_table {
    size_t columns;
    struct text_list cells;
};

struct cli_table *cli_table_new(size_t columns)
{
    struct cli_table *table = mem_zalloc(sizeof *table);
    table->columns = columns;
    return table;
}

void cli_table_free(struct cli_table *table)
{
    if (table == NULL)
        return;
    text_list_free(&table->cells);
    free(table);
}

void cli_table_add(struct cli_table *table, const char *cell)
{
    text_list_add(&table->cells, cell != NULL ? cell : "");
}

void cli_table_add_row(struct cli_table *table, const char *const *cells)
{
    for (size_t i = 0; i < table->columns; i++)
        cli_table_add(table, cells[i]);
}

size_t cli_table_rows(const struct cli_table *table)
{
    return table->cells.count / table->columns;
}

/* Characters, not bytes. */
static size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static size_t column_width(const struct cli_table *table, size_t column)
{
    size_t widest = 0;
    for (size_t i = column; i < table->cells.count; i += table->columns) {
        size_t width = text_width(table->cells.items[i]);
        widest = width > widest ? width : widest;
    }
    return widest;
}

void cli_table_print_spaced(const struct cli_table *table, size_t gap, FILE *output)
{
    if (table->columns == 0)
        return;
    size_t *widths = mem_array(table->columns, sizeof *widths);
    for (size_t i = 0; i < table->columns; i++)
        widths[i] = column_width(table, i) + gap;
    for (size_t i = 0; i < table->cells.count; i++) {
        const char *cell = table->cells.items[i];
        bool last = (i + 1) % table->columns == 0;
        fputs(cell, output);
        if (last)
            fputc('\n', output);
        else
            fprintf(output, "%*s", (int)(widths[i % table->columns] - text_width(cell)), "");
    }
    free(widths);
}

void cli_table_print(const struct cli_table *table, FILE *output)
{
    cli_table_print_spaced(table, 2, output);
}
