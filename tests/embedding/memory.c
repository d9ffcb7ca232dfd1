/* What a process takes: memory open|mapped MODEL [TEXT]. Prints milliseconds until it is open and until the
 * first answer, and in kB what is resident: of the process's own, and of files. */

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

int main(int count, char **arguments) {
    if (count < 3) return 2;
    const char *text = count > 3 ? arguments[3] : "What a wonderful film.";
    EdgeClassifier *classifier;
    EdgeError error;
    EdgePrediction p;
    resident("before");
    double start = now();
    EdgeStatus status = strcmp(arguments[1], "mapped")
                            ? edge_open(arguments[2], &classifier, &error)
                            : edge_open_mapped(arguments[2], &classifier, &error);
    double open = now();
    if (status == EDGE_STATUS_OK)
        status = edge_classify(classifier, text, strlen(text), NULL, &p, NULL, &error);
    if (status != EDGE_STATUS_OK) return fprintf(stderr, "%s\n", error.message), 1;
    printf("open after %.1f ms, first answer after %.1f ms\n", open - start, now() - start);
    resident("after");
    edge_close(classifier);
    return 0;
}
