/* Counts the allocations of a call: allocations MODEL, linked with -Wl,--wrap for the functions below. */

#include "edge_distil.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long count;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);

void *__wrap_malloc(size_t size) { return count++, __real_malloc(size); }
void *__wrap_calloc(size_t n, size_t size) { return count++, __real_calloc(n, size); }
void *__wrap_realloc(void *memory, size_t size) { return count++, __real_realloc(memory, size); }
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size) {
    return count++, __real_posix_memalign(memory, alignment, size);
}

#define COUNTED(call) (count = 0, (call) == EDGE_STATUS_OK ? count : -1)

int main(int arguments, char **argument) {
    EdgeClassifier *c;
    EdgePrediction p;
    float probabilities[2];
    uint32_t ids[128];
    size_t tokens;
    const char *text = "a long one, and it is a good one";
    const EdgePolicy policy = {EDGE_POLICY_KIND_MARGIN, 0.5f, NULL, 0};
    if (arguments != 2 || COUNTED(edge_open(argument[1], &c, NULL)) <= 0) return 2;
    if (edge_classify(c, text, strlen(text), NULL, &p, NULL, NULL) != EDGE_STATUS_OK) return 2;
    long by_tokenizer = COUNTED(edge_tokenize(c, text, strlen(text), ids, 128, &tokens, NULL, NULL));
    long by_text = COUNTED(edge_classify(c, text, strlen(text), &policy, &p, NULL, NULL));
    long by_ids = COUNTED(edge_classify_ids(c, ids, tokens, NULL, &p, probabilities, NULL));
    long shorter = COUNTED(edge_classify_ids(c, ids, 3, &policy, &p, NULL, NULL));
    edge_close(c);
    printf("allocations.c: %ld by the tokenizer, %ld for a text, %ld and %ld for ids\n", by_tokenizer,
           by_text, by_ids, shorter);
    return !(by_tokenizer > 0 && by_text == by_tokenizer && by_ids == 0 && shorter == 0);
}
