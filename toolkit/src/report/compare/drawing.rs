//! An SVG of its own: a title, words for those who do not see it, colours by day and by night.

use super::ink;
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, IntoDrawingArea, SVGBackend, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontFamily, FontStyle, FontTransform, IntoFont, RGBColor, TextStyle};

/// What plotters says of a failure; a string takes everything.
pub(super) type Failed = plotters::drawing::DrawingAreaErrorKind<std::io::Error>;
/// What drawing gives.
pub(super) type Drawn = Result<(), Failed>;
/// Where it draws.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The backend knows whole pixels only, so it draws at twice the size.
pub(super) const SCALE: i32 = 2;

/// A drawing.
pub struct Drawing {
    /// Its name in files and links.
    pub id: &'static str,
    /// What it shows.
    pub title: String,
    /// The same in words.
    pub description: String,
    /// A whole SVG.
    pub svg: String,
    /// The width at which its texts have the size of other texts, in pixels.
    pub width: i32,
}

impl Drawing {
    /// Draws; `size` is in pixels as they are shown, and `paint` multiplies with [`SCALE`].
    pub(super) fn new(
        (id, title, description): (&'static str, String, String),
        (width, height): (i32, i32),
        paint: impl FnOnce(&Area) -> Drawn,
    ) -> Self {
        let mut body = String::new();
        let area =
            SVGBackend::with_string(&mut body, ((width * SCALE) as u32, (height * SCALE) as u32))
                .into_drawing_area();
        paint(&area).and_then(|()| area.present()).expect("a string takes every drawing");
        drop(area);
        // The backend's own first tag has no place for title and style.
        let (_, body) = body.split_once('\n').expect("a tag and a line break");
        let svg = maud::html! {
            svg xmlns="http://www.w3.org/2000/svg" class="drawing" id=(id) role="img"
                width=(width) height=(height)
                viewBox=(format!("0 0 {} {}", width * SCALE, height * SCALE))
                aria-labelledby=(format!("{id}-title {id}-desc"))
            {
                title id=(format!("{id}-title")) { (title) }
                desc id=(format!("{id}-desc")) { (description) }
                style { (maud::PreEscaped(ink::style())) }
                (maud::PreEscaped(body.trim_end().trim_end_matches("</svg>")))
            }
        };
        Drawing { id, title, description, svg: svg.into_string(), width }
    }
}

/// A style of text, `size` in pixels as they are shown.
pub(super) fn text(
    size: i32,
    bold: bool,
    colour: &RGBColor,
    anchor: (HPos, VPos),
) -> TextStyle<'_> {
    let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
    // The backend divides by 1.24.
    let size = f64::from(size * SCALE) * 1.24;
    let font = (FontFamily::SansSerif, size, style).into_font();
    TextStyle::from(font.transform(FontTransform::None))
        .color(colour)
        .pos(Pos::new(anchor.0, anchor.1))
}

/// Writes a text at pixels as they are shown.
pub(super) fn write(area: &Area, words: &str, (x, y): (i32, i32), style: TextStyle) -> Drawn {
    // Characters that XML does not have.
    let words: String = words.chars().filter(|c| !c.is_control()).collect();
    area.draw(&Text::new(words, (x * SCALE, y * SCALE), style))
}

/// How wide a text of so many pixels of height is, about: there is no font to ask.
pub(super) fn width(words: &str, size: i32, bold: bool) -> i32 {
    let letter = if bold { 0.64 } else { 0.58 };
    (words.chars().count() as f64 * letter * f64::from(size)).round() as i32
}
