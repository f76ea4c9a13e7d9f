/* What multiply.cu computes, without a GPU: column by column, checked against the product row by row. */
#include "matrix.h"

int main(void) {
    float *a = filled(ROWS, INNER, 2), *b = filled(INNER, COLUMNS, 3);
    float *product = matrix(ROWS, COLUMNS), *expected = matrix(ROWS, COLUMNS);
    for (size_t column = 0; column < COLUMNS; column++)
        for (size_t row = 0; row < ROWS; row++) {
            float sum = 0;
            for (size_t i = INNER; i-- > 0;)
                sum += b[i * COLUMNS + column] * a[row * INNER + i];
            product[row * COLUMNS + column] = sum;
        }
    multiply_on_cpu(a, b, expected);
    int code = report("multiply", product, expected, ROWS, COLUMNS);
    free(a);
    free(b);
    free(product);
    free(expected);
    return code;
}
