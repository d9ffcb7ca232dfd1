/* A model that is part of the program: linked "what a wonderful film" "dull"
 *
 * `ld -r -b binary -o model.o model.edge` makes an object of the bundle, and these names for its ends. */

#include "edge_distil.h"
#include <stdio.h>
#include <stdlib.h>

extern const uint8_t _binary_model_edge_start[], _binary_model_edge_end[];

int main(int count, char **arguments) {
    EdgeError error;
    EdgeClassifier *classifier;
    size_t length = (size_t)(_binary_model_edge_end - _binary_model_edge_start);
    if (edge_open_memory(_binary_model_edge_start, length, &classifier, &error) != EDGE_STATUS_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }

    size_t texts = (size_t)count - 1, labels = edge_labels(classifier);
    EdgePolicy policy = {EDGE_POLICY_KIND_CONFIDENCE, 0.9f, NULL, 0};
    EdgePrediction *predictions = calloc(texts + 1, sizeof *predictions);
    float *probabilities = calloc(texts * labels + 1, sizeof *probabilities);
    EdgeStatus status = edge_classify_many(classifier, (const char *const *)arguments + 1, NULL, texts,
                                           &policy, predictions, probabilities, &error);
    for (size_t i = 0; status == EDGE_STATUS_OK && i < texts; i++) {
        printf("stage %zu", predictions[i].stage);
        for (size_t l = 0; l < labels; l++)
            printf("\t%s %.4f", edge_label(classifier, l), probabilities[i * labels + l]);
        printf("\t%s\n", arguments[i + 1]);
    }
    if (status != EDGE_STATUS_OK) fprintf(stderr, "%s\n", error.message);

    free(probabilities);
    free(predictions);
    edge_close(classifier);
    return status != EDGE_STATUS_OK;
}
