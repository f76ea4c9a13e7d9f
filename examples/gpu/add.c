/* What add.cu computes, without a GPU: the sum row by row, checked cell by cell in the other order. */
#include "matrix.h"

int main(void) {
    const size_t cells = (size_t)ROWS * COLUMNS;
    float *a = filled(ROWS, COLUMNS, 1), *b = filled(ROWS, COLUMNS, 4);
    float *sum = matrix(ROWS, COLUMNS), *expected = matrix(ROWS, COLUMNS);
    for (size_t row = 0; row < ROWS; row++)
        for (size_t column = 0; column < COLUMNS; column++)
            sum[row * COLUMNS + column] = b[row * COLUMNS + column] + a[row * COLUMNS + column];
    add_on_cpu(a, b, expected, cells);
    int code = report("add", sum, expected, ROWS, COLUMNS);
    free(a);
    free(b);
    free(sum);
    free(expected);
    return code;
}
