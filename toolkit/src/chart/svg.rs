//! SVG drawings with a title and a description. The classes of the style sheet, `svg.css`, give
//! elements their look on light and dark pages.

use std::fmt::{Arguments, Write};

/// A place, or a width and a height, in pixels.
pub(crate) type Pair = (f64, f64);

/// A complete drawing.
pub struct Drawing {
    /// Name in files and links.
    pub id: &'static str,
    /// Heading.
    pub title: String,
    /// Content in words.
    pub description: String,
    /// SVG document.
    pub svg: String,
    /// Width in pixels at which its texts have the size of other texts.
    pub width: f64,
}

/// The elements of a drawing.
#[derive(Default)]
pub(crate) struct Svg(String);

impl Svg {
    /// Writes a text, the middle of its height at the place.
    pub fn text(&mut self, (x, y): Pair, class: &str, words: &str) {
        let words = escaped(words);
        self.add(format_args!(
            "text class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\">{words}</text",
            y + 4.5
        ));
    }

    /// Draws a line through points.
    pub fn line(&mut self, points: &[Pair], class: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.add(format_args!("polyline class=\"{class}\" points=\"{}\"/", points.join(" ")));
    }

    /// Draws a disc, or a ring if that is among its classes.
    pub fn dot(&mut self, (x, y): Pair, class: &str) {
        self.add(format_args!("circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/"));
    }

    /// Draws a rectangle.
    pub fn rectangle(&mut self, (x, y): Pair, (wide, high): Pair, class: &str) {
        self.add(format_args!(
            "rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\"/"
        ));
    }

    fn add(&mut self, element: Arguments) {
        let _ = writeln!(self.0, "<{element}>");
    }

    /// Completes the drawing.
    pub fn finish(
        self,
        id: &'static str,
        title: String,
        description: String,
        (width, height): Pair,
    ) -> Drawing {
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"drawing\" id=\"{id}\" role=\"img\" \
             width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             aria-labelledby=\"{id}-title {id}-desc\">\n\
             <title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-desc\">{}</desc>\n\
             <style>\n{}</style>\n{}</svg>",
            escaped(&title),
            escaped(&description),
            include_str!("svg.css"),
            self.0
        );
        Drawing { id, title, description, svg, width }
    }
}

/// Text as XML content, without the characters that XML forbids.
fn escaped(text: &str) -> String {
    let allowed = |c: &char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    let text: String = text.chars().filter(allowed).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Approximate width of a text in pixels, as there is no font to ask.
pub(crate) fn width(words: &str, size: f64, bold: bool) -> f64 {
    let letter = if bold { 0.64 } else { 0.58 };
    (words.chars().count() as f64 * letter * size).round()
}
