"""Puts a label on each text: classify.py model.edge "what a wonderful film" "dull" """

import sys

from edge_distil import Classifier, EdgeError, Policy

try:
    classifier = Classifier.open(sys.argv[1])
    for text in sys.argv[2:]:
        p = classifier.classify(text)  # by the exit policy of the model
        print(f"{p.label}\t{p.probability:.4f}\tstage {p.stage}\t{text}")
    # All together, and by another policy.
    predictions = classifier.classify_many(sys.argv[2:], Policy.CONFIDENCE(thresholds=[0.9]))
    print([p.stage for p in predictions], file=sys.stderr)
except EdgeError as error:
    sys.exit(f"{type(error).__name__}: {error}")
