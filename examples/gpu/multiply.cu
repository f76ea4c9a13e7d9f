/* Multiplies two matrices, a thread for each cell of the product. */
#include "cuda_check.h"
#include "matrix.h"

__global__ void multiply(const float *a, const float *b, float *product, int rows, int inner, int columns) {
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    int row = blockIdx.y * blockDim.y + threadIdx.y;
    if (row >= rows || column >= columns)
        return;
    float sum = 0;
    for (int i = 0; i < inner; i++)
        sum += a[row * inner + i] * b[i * columns + column];
    product[row * columns + column] = sum;
}

int main(void) {
    need_device();
    const size_t bytes_a = sizeof(float) * ROWS * INNER, bytes_b = sizeof(float) * INNER * COLUMNS;
    const size_t bytes = sizeof(float) * ROWS * COLUMNS;
    float *a = filled(ROWS, INNER, 2), *b = filled(INNER, COLUMNS, 3);
    float *product = matrix(ROWS, COLUMNS), *expected = matrix(ROWS, COLUMNS);

    float *device_a, *device_b, *device_product;
    CHECK(cudaMalloc(&device_a, bytes_a));
    CHECK(cudaMalloc(&device_b, bytes_b));
    CHECK(cudaMalloc(&device_product, bytes));
    CHECK(cudaMemcpy(device_a, a, bytes_a, cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(device_b, b, bytes_b, cudaMemcpyHostToDevice));
    dim3 block(16, 16), grid((COLUMNS + block.x - 1) / block.x, (ROWS + block.y - 1) / block.y);
    multiply<<<grid, block>>>(device_a, device_b, device_product, ROWS, INNER, COLUMNS);
    CHECK(cudaGetLastError());
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaMemcpy(product, device_product, bytes, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_a));
    CHECK(cudaFree(device_b));
    CHECK(cudaFree(device_product));

    multiply_on_cpu(a, b, expected);
    int code = report("multiply", product, expected, ROWS, COLUMNS);
    free(a);
    free(b);
    free(product);
    free(expected);
    return code;
}
