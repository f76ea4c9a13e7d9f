/* Matrices of small whole numbers, so that every sum is exact and results can be compared to the last bit. */
#ifndef MATRIX_H
#define MATRIX_H

#include <stdio.h>
#include <stdlib.h>

/* No multiples of the threads in a block: the last blocks are not full. */
enum { ROWS = 333, INNER = 129, COLUMNS = 257 };

static float *matrix(size_t rows, size_t columns) {
    float *cells = (float *)malloc(rows * columns * sizeof(float));
    if (cells == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return cells;
}

static float *filled(size_t rows, size_t columns, unsigned seed) {
    float *cells = matrix(rows, columns);
    for (size_t i = 0; i < rows * columns; i++)
        cells[i] = (float)((int)((i * 7 + seed) % 11) - 5);
    return cells;
}

static inline void add_on_cpu(const float *a, const float *b, float *sum, size_t cells) {
    for (size_t i = 0; i < cells; i++)
        sum[i] = a[i] + b[i];
}

static inline void multiply_on_cpu(const float *a, const float *b, float *product) {
    for (size_t row = 0; row < ROWS; row++)
        for (size_t column = 0; column < COLUMNS; column++) {
            float sum = 0;
            for (size_t i = 0; i < INNER; i++)
                sum += a[row * INNER + i] * b[i * COLUMNS + column];
            product[row * COLUMNS + column] = sum;
        }
}

/* Tells what came out; the exit code of the program. */
static int report(const char *what, const float *found, const float *expected, size_t rows, size_t columns) {
    long checksum = 0;
    for (size_t i = 0; i < rows * columns; i++) {
        if (found[i] != expected[i]) {
            fprintf(stderr, "%s: cell %zu,%zu is %g and should be %g\n", what, i / columns, i % columns, found[i],
                    expected[i]);
            return 1;
        }
        checksum += (long)found[i] * (long)(i % 97 + 1);
    }
    printf("%s: %zu x %zu, all cells are right, checksum %ld\n", what, rows, columns, checksum);
    return 0;
}

#endif
