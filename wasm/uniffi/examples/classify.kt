// Puts a label on each text: classify model.edge "what a wonderful film" "dull"

import uniffi.edge_distil.Classifier
import uniffi.edge_distil.EdgeException
import uniffi.edge_distil.Policy

fun main(arguments: Array<String>) {
    val texts = arguments.drop(1)
    try {
        Classifier.open(arguments[0]).use { classifier ->
            for (text in texts) {
                val p = classifier.classify(text) // by the exit policy of the model
                println("${p.label}\t${"%.4f".format(p.probability)}\tstage ${p.stage}\t$text")
            }
            // All together, and by another policy.
            val predictions = classifier.classifyMany(texts, Policy.Confidence(listOf(0.9f)))
            System.err.println(predictions.map { it.stage })
        }
    } catch (error: EdgeException) {
        System.err.println("${error::class.simpleName}: ${error.message}")
        kotlin.system.exitProcess(1)
    }
}
