/* Measures the memory of a process: memory open|mapped|linked MODEL [TEXT], where linked is the model that
 * -DLINKED puts into the program. Prints milliseconds until it is open and until the
 * first answer, and the resident memory in kB: private, and of files. */

#define _POSIX_C_SOURCE 199309L
#include "edge_distil.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void resident(const char *when) {
    char line[256];
    long anonymous = 0, file = 0, peak = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) {
        sscanf(line, "RssAnon: %ld", &anonymous);
        sscanf(line, "RssFile: %ld", &file);
        sscanf(line, "VmHWM: %ld", &peak);
    }
    if (status) fclose(status);
    printf("%s\tanonymous %ld kB\tfile %ld kB\tpeak %ld kB\n", when, anonymous, file, peak);
}

#ifdef LINKED
extern const uint8_t _binary_model_edge_start[], _binary_model_edge_end[];
#endif

static EdgeStatus opened(const char *how, const char *path, EdgeClassifier **classifier, EdgeError *error) {
    if (!strcmp(how, "open")) return edge_open(path, classifier, error);
    if (!strcmp(how, "mapped")) return edge_open_mapped(path, classifier, error);
#ifdef LINKED
    size_t length = (size_t)(_binary_model_edge_end - _binary_model_edge_start);
    return edge_open_memory(_binary_model_edge_start, length, classifier, error);
#else
    return EDGE_STATUS_ARGUMENT;
#endif
}

int main(int count, char **arguments) {
    if (count < 3) return 2;
    const char *text = count > 3 ? arguments[3] : "What a wonderful film.";
    EdgeClassifier *classifier;
    EdgeError error;
    EdgePrediction p;
    resident("before");
    double start = now();
    EdgeStatus status = opened(arguments[1], arguments[2], &classifier, &error);
    double open = now();
    if (status == EDGE_STATUS_OK)
        status = edge_classify(classifier, text, strlen(text), NULL, &p, NULL, &error);
    if (status != EDGE_STATUS_OK) return fprintf(stderr, "%s\n", error.message), 1;
    printf("open after %.1f ms, first answer after %.1f ms\n", open - start, now() - start);
    resident("after");
    edge_close(classifier);
    return 0;
}
