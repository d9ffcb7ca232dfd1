// Puts a label on each text: classify model.edge "what a wonderful film" "dull"

import Foundation

let texts = Array(CommandLine.arguments.dropFirst(2))
do {
    let classifier = try Classifier.open(path: CommandLine.arguments[1])
    for text in texts {
        let p = try classifier.classify(text: text) // by the exit policy of the model
        print("\(p.label)\t\(String(format: "%.4f", p.probability))\tstage \(p.stage)\t\(text)")
    }
    // All together, and by another policy.
    let predictions = try classifier.classifyMany(texts: texts, policy: .confidence(thresholds: [0.9]))
    FileHandle.standardError.write(Data("\(predictions.map(\.stage))\n".utf8))
} catch {
    FileHandle.standardError.write(Data("\(error)\n".utf8))
    exit(1)
}
