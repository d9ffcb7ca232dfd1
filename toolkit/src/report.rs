//! Measuring a classifier, calibrating its exits, and showing both.
