/* Tables on the terminal: cells aligned in columns, two blanks apart, the last one not padded. */
#pragma once

#include <stddef.h>
#include <stdio.h>

struct cli_table;

struct cli_table *cli_table_new(size_t columns);
void cli_table_free(struct cli_table *table);
/* The next cell, row by row; copied. NULL is empty. */
void cli_table_add(struct cli_table *table, const char *cell);
/* A row of as many cells as there are columns. */
void cli_table_add_row(struct cli_table *table, const char *const *cells);
size_t cli_table_rows(const struct cli_table *table);
void cli_table_print(const struct cli_table *table, FILE *output);
/* The same with another number of blanks between columns. */
void cli_table_print_spaced(const struct cli_table *table, size_t gap, FILE *output);
