/* Counts what Python's allocators are asked for, so that the engine's allocations a message can be told.
 *
 * A hook in front of the allocators of objects and of memory (PyMem_SetAllocator): each malloc, calloc and realloc
 * counts. What comes from a type's own list of spare objects (small tuples, floats) isn't seen. Loaded by bench/engine.py.
 */
#include <Python.h>

static unsigned long long count;
static PyMemAllocatorEx before[2];
static const PyMemAllocatorDomain domains[2] = {PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};

static void *count_malloc(void *context, size_t bytes)
{
    const PyMemAllocatorEx *next = context;
    count++;
    return next->malloc(next->ctx, bytes);
}

static void *count_calloc(void *context, size_t elements, size_t bytes)
{
    const PyMemAllocatorEx *next = context;
    count++;
    return next->calloc(next->ctx, elements, bytes);
}

static void *count_realloc(void *context, void *old, size_t bytes)
{
    const PyMemAllocatorEx *next = context;
    count++;
    return next->realloc(next->ctx, old, bytes);
}

static void pass_free(void *context, void *old)
{
    const PyMemAllocatorEx *next = context;
    next->free(next->ctx, old);
}

/* Begin to count. */
void start_counting(void)
{
    count = 0;
    for (int i = 0; i < 2; i++) {
        PyMem_GetAllocator(domains[i], &before[i]);
        PyMemAllocatorEx hook = {&before[i], count_malloc, count_calloc, count_realloc, pass_free};
        PyMem_SetAllocator(domains[i], &hook);
    }
}

/* End it; returns how many there were. */
unsigned long long stop_counting(void)
{
    for (int i = 0; i < 2; i++)
        PyMem_SetAllocator(domains[i], &before[i]);
    return count;
}
