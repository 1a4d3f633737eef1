//! One plot as SVG: axes from zero, a line with markers for each series, a legend. Pure text from numbers.
//!
//! A series is known by its colour, its marker and its name beside the plot, so colour is never alone; the colours are those of the pages, which differ by at
//! least 18 steps of CIEDE2000 also for people who see fewer, and are set by the style of the page for light and dark.

use std::fmt::Write as _;

use super::escaped;

/// Colours before they come again, then with dashes.
const COLORS: usize = 6;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
/// Room for the numbers of the axes, and for the names of the series.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;
/// And for the title of a picture of its own.
const TITLE: f64 = 28.0;

/// Lines of a scale, at most.
const TICKS: f64 = 6.0;

/// What can be drawn and written at an axis.
const MOST: f64 = 1e15;
const LEAST: f64 = 1e-9;

/// Names that have room beside the plot; further series are drawn, and counted there.
const NAMES: usize = 11;

/// What is drawn.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plot {
    /// What a file with it alone is called, without an ending.
    pub(super) file: &'static str,
    pub(super) title: String,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) series: Vec<Series>,
}

/// Points that belong together, in ascending order of x.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

impl Series {
    /// What may stand in a file of somebody else is not always a place in a picture.
    fn drawable(&self) -> impl Iterator<Item = (f64, f64)> {
        let fits = |value: f64| (0.0..=MOST).contains(&value);
        self.points.iter().copied().filter(move |point| fits(point.0) && fits(point.1))
    }
}

impl Plot {
    /// True when there is a line to see.
    pub(super) fn says_something(&self) -> bool {
        self.series.iter().any(|series| series.points.len() > 1)
    }

    /// The plot in a page.
    pub(super) fn figure(&self) -> String {
        let (title, drawing) = (escaped(&self.title), self.drawing());
        format!(
            "<figure><figcaption>{title}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n{drawing}</svg></figure>\n"
        )
    }

    /// The plot as a picture of its own, with its title above it.
    pub(super) fn picture(&self, style: &str) -> String {
        let (title, drawing) = (escaped(&self.title), self.drawing());
        let high = HEIGHT + TITLE;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {high}\" role=\"img\">\n<title>{title}</title>\n<style>\n{style}</style>\n<rect class=\"sheet\" width=\"{WIDTH}\" height=\"{high}\"/>\n<text class=\"title\" x=\"14\" y=\"20\">{title}</text>\n<g transform=\"translate(0 {TITLE})\">\n{drawing}</g>\n</svg>\n"
        )
    }

    fn drawing(&self) -> String {
        let points = || self.series.iter().flat_map(Series::drawable);
        let x = Scale::to(points().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let y = Scale::to(points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
        let mut svg = String::new();
        self.axes(&mut svg, &x, &y);
        for (nth, series) in self.series.iter().enumerate() {
            draw(&mut svg, nth, series, &x, &y);
        }
        if self.series.len() > NAMES {
            let (at, more) = (legend_at(NAMES), self.series.len() - NAMES);
            let _ =
                writeln!(svg, "<text x=\"{:.1}\" y=\"{at:.1}\">and {more} more</text>", legend());
        }
        svg
    }

    fn axes(&self, svg: &mut String, x: &Scale, y: &Scale) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for value in y.ticks() {
            let at = y.place(value);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                at + 4.0,
                number(value)
            );
        }
        for value in x.ticks() {
            let at = x.place(value);
            let _ = writeln!(
                svg,
                "<path class=\"axis\" d=\"M{at:.1} {bottom}v5\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                number(value)
            );
        }
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text><text x=\"14\" y=\"{:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {:.1})\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 8.0,
            escaped(&self.x),
            f64::midpoint(TOP, bottom),
            f64::midpoint(TOP, bottom),
            escaped(&self.y),
        );
    }
}

fn draw(svg: &mut String, nth: usize, series: &Series, x: &Scale, y: &Scale) {
    let dashed = if nth < COLORS { "" } else { " dashed" };
    let places: Vec<_> =
        series.drawable().map(|point| (x.place(point.0), y.place(point.1))).collect();
    let line: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        svg,
        "<g class=\"s{}{dashed}\"><polyline points=\"{}\"/>",
        nth % COLORS + 1,
        line.join(" ")
    );
    for (place, value) in places.iter().zip(series.drawable()) {
        let title = format!("{}: {}, {}", series.name, number(value.0), number(value.1));
        let _ = writeln!(svg, "{}", marker(nth, *place, &title));
    }
    if nth < NAMES {
        let at = legend_at(nth);
        let _ = writeln!(
            svg,
            "{}<text x=\"{:.1}\" y=\"{at:.1}\">{}</text>",
            marker(nth, (legend() - 12.0, at - 4.0), &series.name),
            legend(),
            escaped(&series.name)
        );
    }
    svg.push_str("</g>\n");
}

/// A circle, a square or a diamond around a place.
fn marker(nth: usize, (x, y): (f64, f64), title: &str) -> String {
    let shape = match nth % 3 {
        0 => "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
        1 => "m-4 -4h8v8h-8z",
        _ => "m0 -5l5 5l-5 5l-5 -5z",
    };
    format!("<path d=\"M{x:.1} {y:.1}{shape}\"><title>{}</title></path>", escaped(title))
}

const fn legend() -> f64 {
    WIDTH - RIGHT + 34.0
}

fn legend_at(nth: usize) -> f64 {
    TOP + 12.0 + 20.0 * nth as f64
}

/// From zero to a round number above everything, onto a stretch of the picture.
#[derive(Debug, Clone, Copy)]
struct Scale {
    step: f64,
    end: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn to(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let most = values.fold(0.0, f64::max);
        // Nothing but zeros still makes a picture.
        let most = if most > LEAST { most } else { 1.0 };
        let step = round_above(most / (TICKS - 1.0));
        Self { step, end: step * (most / step).ceil(), from, to }
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (self.to - self.from) * value / self.end
    }

    fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        let (step, end) = (self.step, self.end);
        (0_u32..).map(move |nth| step * f64::from(nth)).take_while(move |at| *at <= end * 1.000_001)
    }
}

/// 1, 2 or 5 of some power of ten, not below `least`.
fn round_above(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least);
    factor.unwrap_or(10.0) * power
}

/// A number as it stands at an axis: 20k, 1.5M, 0.25.
fn number(value: f64) -> String {
    let (value, unit) = match value.abs() {
        1_000_000.0.. => (value / 1_000_000.0, "M"),
        10_000.0.. => (value / 1_000.0, "k"),
        _ => (value, ""),
    };
    let digits = format!("{value:.2}");
    format!("{}{unit}", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> Plot {
        let series = vec![Series { name: "a <b>".into(), points }];
        Plot { file: "t", title: "t & u".into(), x: "x".into(), y: "y".into(), series }
    }

    /// The picture of a known plot, so that a change of its look is a decision.
    #[test]
    fn places_are_where_the_axes_say() {
        let svg = plot(vec![(0.0, 0.0), (10_000.0, 50.0), (20_000.0, 100.0)]).figure();
        assert!(svg.contains("points=\"80.0,254.0 265.0,134.0 450.0,14.0\""), "{svg}");
        assert!(svg.contains(">20k</text>") && svg.contains(">100</text>"), "{svg}");
        assert_eq!(svg.matches("<path d=").count(), 4, "a marker a point, one in the legend");
        assert!(svg.contains("t &amp; u") && svg.contains("a &lt;b&gt;") && !svg.contains("<b>"));
    }

    #[test]
    fn every_number_makes_a_picture_with_few_lines() {
        let wild = [0.0, 1e-300, 0.001, 7.0, 99.9, 1e9, 1e300, f64::MAX, f64::NAN, f64::INFINITY];
        for a in wild {
            for b in wild {
                let svg = plot(vec![(a, b), (b, -a)]).figure();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{a} {b}: {svg}");
                assert!(svg.len() < 4_000, "{a} {b}: {svg}");
                let lines = svg.matches("class=\"grid\"").count();
                assert!((2..=7).contains(&lines), "{a} {b}: {lines} lines");
            }
        }
    }

    #[test]
    fn numbers_are_short_and_many_series_do_not_run_out_of_the_picture() {
        assert_eq!([number(0.25), number(9_999.0), number(1.5e6)], ["0.25", "9999", "1.5M"]);
        let mut many = plot(vec![(1.0, 1.0), (2.0, 2.0)]);
        many.series = vec![many.series[0].clone(); 20];
        let svg = many.figure();
        assert!(svg.contains("and 9 more") && svg.contains("s1 dashed") && !svg.contains("s7"));
        assert!(legend_at(NAMES) < HEIGHT);
    }

    #[test]
    fn a_picture_of_its_own_needs_nothing_else() {
        let svg = plot(vec![(1.0, 1.0), (2.0, 2.0)]).picture("text { fill: red; }");
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""), "{svg}");
        assert!(svg.contains("fill: red") && svg.contains("<title>t &amp; u</title>"));
        for element in ["svg", "g", "text", "style", "title"] {
            let opened = svg.matches(&format!("<{element}>")).count()
                + svg.matches(&format!("<{element} ")).count();
            assert_eq!(opened, svg.matches(&format!("</{element}>")).count(), "{element}");
        }
    }
}
