//! The metrics as Prometheus' own text format has them, which differs from OpenMetrics in what stands around the samples: a
//! counter's description has the name of its samples, and neither a unit nor an end is told. Exemplars, which it does not
//! know either, are not in use here.

use std::fmt::Write;

/// The same metrics, from OpenMetrics as they are written: for each metric its help, its type, its samples.
pub(super) fn from_open_metrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut help = "";
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described;
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let words = help.strip_prefix(name).unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP {name}{suffix}{words}\n# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::registry::{Registry, Unit};

    use super::*;

    #[test]
    fn samples_stay_and_what_stands_around_them_is_as_prometheus_has_it() {
        let mut registry = Registry::with_prefix("p");
        let counts = Family::<Vec<(String, String)>, Counter>::default();
        counts.get_or_create(&vec![("said".to_owned(), "# TYPE \"x\"\n# EOF".to_owned())]).inc();
        registry.register("counts", "How many", counts);
        registry.register("level", "How high", Gauge::<i64>::default());
        let took = Histogram::new([0.5]);
        took.observe(0.1);
        registry.register_with_unit("took", "How long", Unit::Seconds, took);
        let mut text = String::new();
        encode(&mut text, &registry).expect("a String takes all");
        assert_eq!(
            from_open_metrics(&text),
            r##"# HELP p_counts_total How many.
# TYPE p_counts_total counter
p_counts_total{said="# TYPE \"x\"\n# EOF"} 1
# HELP p_level How high.
# TYPE p_level gauge
p_level 0
# HELP p_took_seconds How long.
# TYPE p_took_seconds histogram
p_took_seconds_sum 0.1
p_took_seconds_count 1
p_took_seconds_bucket{le="0.5"} 1
p_took_seconds_bucket{le="+Inf"} 1
"##
        );
    }
}
