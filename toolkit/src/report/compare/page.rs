//! Report as one HTML page without external files.

use super::{Drawing, Report, rows};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const CSS: &str = include_str!("page.css");

impl Report {
    /// Formats the page.
    pub fn html(&self) -> String {
        let records = self.records();
        let data = &records[0].data;
        let title = "Compression report";
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) }
                    style { (PreEscaped(CSS)) }
                }
                body {
                    header {
                        h1 { (title) }
                        p {
                            (records.len()) " models on the " (data.sentences) " sentences of "
                            (data.name) ": what each step makes smaller or faster, and what it costs."
                        }
                    }
                    main {
                        (self.flows())
                        section aria-labelledby="models" {
                            h2 id="models" { "All models" }
                            (self.models())
                            @for source in rows::sources(self) { p.quiet { "† " (source) } }
                        }
                        div.charts { @for chart in self.charts() { (figure(&chart)) } }
                        (self.exits())
                    }
                    footer { @for said in rows::conditions(self) { p { (said) } } }
                }
            }
        };
        page.into_string()
    }

    /// Formats two flow drawings: a wide one that scrolls before its texts get too small, and one
    /// for narrow screens.
    fn flows(&self) -> Markup {
        let (wide, narrow) = (self.flow(), self.narrow_flow());
        html! {
            figure {
                figcaption id="flow-caption" { (wide.title) }
                div.scroll.wide role="region" tabindex="0" aria-labelledby="flow-caption"
                    style=(format!("--wide:{}px", wide.width))
                { (PreEscaped(&wide.svg)) }
                div.narrow style=(format!("--wide:{}px", narrow.width)) { (PreEscaped(&narrow.svg)) }
            }
        }
    }

    fn models(&self) -> Markup {
        html! {
            div.scroll role="region" tabindex="0" aria-labelledby="models" {
                table {
                    thead {
                        tr { th scope="col" { "model" } @for head in rows::HEAD { th scope="col" { (head) } } }
                    }
                    tbody {
                        @for row in rows::models(self) {
                            tr.exits[row.exits] {
                                th scope="row" { (row.name(self)) }
                                @for cell in &row.cells { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }

    fn exits(&self) -> Markup {
        let (layers, rows) = rows::exits(self);
        if rows.is_empty() {
            return html! {};
        }
        html! {
            section aria-labelledby="every-exit" {
                h2 id="every-exit" { "All exits" }
                p.quiet {
                    "Accuracy in percent if every sentence left there; below it the percentage \
                     of sentences that leave there by the model's own policy."
                }
                div.scroll role="region" tabindex="0" aria-labelledby="every-exit" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "layers computed" }
                                @for layer in &layers { th scope="col" { (layer) } }
                            }
                        }
                        tbody {
                            @for (record, cells) in &rows {
                                tr {
                                    th scope="row" { (self.called(record)) }
                                    @for [right, leave] in cells {
                                        td { (right) @if !leave.is_empty() { br; small { (leave) } } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn figure(drawing: &Drawing) -> Markup {
    html! {
        figure {
            figcaption { (drawing.title) }
            (PreEscaped(&drawing.svg))
        }
    }
}
