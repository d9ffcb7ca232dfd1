/* Puts a label on each text: classify model.edge "what a wonderful film" "dull" */

#include "edge_distil.h"
#include <stdio.h>
#include <string.h>

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: %s model.edge TEXT...\n", arguments[0]);
        return 2;
    }
    EdgeError error;
    EdgeClassifier *classifier;
    if (edge_open(arguments[1], &classifier, &error) != EDGE_STATUS_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    int failed = 0;
    for (int i = 2; i < count; i++) {
        EdgePrediction p;
        const char *text = arguments[i];
        /* NULL, NULL: the exit policy of the model, and no probabilities of the other labels. */
        if (edge_classify(classifier, text, strlen(text), NULL, &p, NULL, &error) != EDGE_STATUS_OK) {
            fprintf(stderr, "%s\n", error.message);
            failed = 1;
            break;
        }
        printf("%s\t%.4f\tstage %zu\t%s\n", p.label, p.probability, p.stage, text);
    }
    edge_close(classifier);
    return failed;
}
