/*
 * The pause container: holds a pod's namespaces and reaps its orphans. Without libc where the system call is known, which makes
 * the image one file of about a kilobyte; with it everywhere else.
 *
 * It waits for signals instead of handling them: handlers differ between architectures, and the first process of a namespace gets
 * a signal that it has no handler for only if it blocks it.
 */
#include <asm/signal.h>
#include <asm/unistd.h>

typedef long word;

#define ENTRY __attribute__((noreturn)) void _start

#if defined(__x86_64__)

static inline word call(word number, word a, word b, word c, word d)
{
    word result;
    register word r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
}

#elif defined(__aarch64__)

static inline word call(word number, word a, word b, word c, word d)
{
    register word x8 __asm__("x8") = number;
    register word x0 __asm__("x0") = a;
    register word x1 __asm__("x1") = b;
    register word x2 __asm__("x2") = c;
    register word x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}

#else

long syscall(long number, ...);
#define call syscall
#undef ENTRY
#define ENTRY int main

#endif

enum { WNOHANG = 1, SIGNAL_SET_BYTES = 8 };

static unsigned long long bit(int signal) { return 1ULL << (signal - 1); }

ENTRY(void)
{
    unsigned long long wanted = bit(SIGINT) | bit(SIGTERM) | bit(SIGCHLD);
    call(__NR_rt_sigprocmask, SIG_BLOCK, (word)&wanted, 0, SIGNAL_SET_BYTES);
    for (;;) {
        word signal = call(__NR_rt_sigtimedwait, (word)&wanted, 0, 0, SIGNAL_SET_BYTES);
        if (signal == SIGINT || signal == SIGTERM)
            call(__NR_exit_group, 0, 0, 0, 0);
        while (call(__NR_wait4, -1, 0, WNOHANG, 0) > 0)
            ;
    }
}
