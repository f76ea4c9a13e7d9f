/* Ends the program when a call of CUDA fails, and says which. */
#ifndef CUDA_CHECK_H
#define CUDA_CHECK_H

#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        cudaError_t error = (call);                                                                                    \
        if (error != cudaSuccess) {                                                                                    \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorString(error));                  \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Without a device, or without a driver for one, the runtime has several errors to tell so. */
static inline void need_device(void) {
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0) {
        fprintf(stderr, "no CUDA device: %s\n", error == cudaSuccess ? "there are none" : cudaGetErrorString(error));
        exit(1);
    }
}

#endif
