//! The colours of the drawings, by day and by night.

use super::super::record::MadeBy;
use plotters::style::RGBColor;

/// Of texts and frames.
pub(super) const INK: RGBColor = RGBColor(0x1b, 0x1f, 0x24);
/// Of what is to be read second.
pub(super) const QUIET: RGBColor = RGBColor(0x59, 0x61, 0x6a);
/// Of grids and connections.
pub(super) const LINE: RGBColor = RGBColor(0xd5, 0xd3, 0xcb);
/// Of the ground of boxes.
pub(super) const CARD: RGBColor = RGBColor(0xfd, 0xfd, 0xfc);
/// Of what exits do.
pub(super) const EXITS: RGBColor = RGBColor(0x9a, 0x6a, 0x00);

/// The colour of a step. They are of those that people with colour blindness tell apart (Okabe & Ito
/// 2008), dark enough to be read.
pub(super) fn of(step: MadeBy) -> RGBColor {
    match step {
        MadeBy::Teacher => RGBColor(0x6b, 0x6b, 0x6b),
        MadeBy::Finetune => RGBColor(0x8c, 0x4a, 0x73),
        MadeBy::Distil => RGBColor(0x00, 0x66, 0xa4),
        MadeBy::Prune => RGBColor(0xb8, 0x4a, 0x00),
        MadeBy::Vocabulary => RGBColor(0xa8, 0x32, 0x78),
        MadeBy::Quantize => RGBColor(0x00, 0x7a, 0x59),
    }
}

/// What stands for a colour on a dark ground.
const NIGHT: [(RGBColor, &str); 11] = [
    (INK, "#e9ebed"),
    (QUIET, "#a3abb4"),
    (LINE, "#3a4048"),
    (CARD, "#1a1d21"),
    (EXITS, "#e6b84d"),
    (RGBColor(0x6b, 0x6b, 0x6b), "#b0b0b0"),
    (RGBColor(0x8c, 0x4a, 0x73), "#d9a6c6"),
    (RGBColor(0x00, 0x66, 0xa4), "#6cbcf0"),
    (RGBColor(0xb8, 0x4a, 0x00), "#f29a5c"),
    (RGBColor(0xa8, 0x32, 0x78), "#ee8fc6"),
    (RGBColor(0x00, 0x7a, 0x59), "#4fcfa5"),
];

/// As the SVG backend writes it.
pub(super) fn hex(RGBColor(r, g, b): RGBColor) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

/// The style sheet of a drawing: colours are attributes, which rules go over.
pub(super) fn style() -> String {
    let rules: String = NIGHT
        .iter()
        .map(|(day, night)| {
            let day = hex(*day);
            format!(".drawing [fill=\"{day}\"]{{fill:{night}}}.drawing [stroke=\"{day}\"]{{stroke:{night}}}")
        })
        .collect();
    format!(
        ".drawing text{{font-family:system-ui,sans-serif}}\
         @media(prefers-color-scheme:dark){{{rules}}}"
    )
}
