/* Adds two matrices, a thread for each cell. */
#include "cuda_check.h"
#include "matrix.h"

__global__ void add(const float *a, const float *b, float *sum, int rows, int columns) {
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    int row = blockIdx.y * blockDim.y + threadIdx.y;
    if (row < rows && column < columns) {
        int i = row * columns + column;
        sum[i] = a[i] + b[i];
    }
}

int main(void) {
    need_device();
    const size_t cells = (size_t)ROWS * COLUMNS, bytes = cells * sizeof(float);
    float *a = filled(ROWS, COLUMNS, 1), *b = filled(ROWS, COLUMNS, 4);
    float *sum = matrix(ROWS, COLUMNS), *expected = matrix(ROWS, COLUMNS);

    float *device_a, *device_b, *device_sum;
    CHECK(cudaMalloc(&device_a, bytes));
    CHECK(cudaMalloc(&device_b, bytes));
    CHECK(cudaMalloc(&device_sum, bytes));
    CHECK(cudaMemcpy(device_a, a, bytes, cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(device_b, b, bytes, cudaMemcpyHostToDevice));
    dim3 block(16, 16), grid((COLUMNS + block.x - 1) / block.x, (ROWS + block.y - 1) / block.y);
    add<<<grid, block>>>(device_a, device_b, device_sum, ROWS, COLUMNS);
    CHECK(cudaGetLastError());
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaMemcpy(sum, device_sum, bytes, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(device_a));
    CHECK(cudaFree(device_b));
    CHECK(cudaFree(device_sum));

    add_on_cpu(a, b, expected, cells);
    int code = report("add", sum, expected, ROWS, COLUMNS);
    free(a);
    free(b);
    free(sum);
    free(expected);
    return code;
}
