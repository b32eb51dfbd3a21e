//! What `/metrics` says.

use anyhow::{Context, Result};

/// One reading of all series.
#[derive(Debug, Clone)]
pub struct Metrics(String);

impl Metrics {
    /// From the text format of Prometheus.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text as it came.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The sum over all series of `name` that carry every one of `labels`, written `key="value"`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let mut sum = None;
        for line in self.0.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let found = series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label));
            if found {
                sum = Some(sum.unwrap_or(0.0) + value.parse::<f64>()?);
            }
        }
        sum.with_context(|| format!("no series of {name} with {labels:?}"))
    }

    /// How many objects were settled with this outcome and, where given, this reason.
    pub fn objects(&self, outcome: &str, reason: Option<&str>) -> Result<f64> {
        let mut labels = vec![format!("outcome=\"{outcome}\"")];
        labels.extend(reason.map(|reason| format!("reason=\"{reason}\"")));
        let labels: Vec<_> = labels.iter().map(String::as_str).collect();
        self.sum("lazaret_objects_total", &labels)
    }

    /// How many deliveries ended this way.
    pub fn deliveries(&self, result: &str) -> Result<f64> {
        self.sum("lazaret_deliveries_total", &[&format!("result=\"{result}\"")])
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn series_are_summed_by_their_labels() {
        let text = "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\"} 4\nab{x=\"1\"} 8\n";
        let metrics = Metrics::new(text.to_owned());
        assert!((metrics.sum("a", &["x=\"1\""]).unwrap() - 7.0).abs() < f64::EPSILON);
        assert!((metrics.sum("a", &["y=\"2\""]).unwrap() - 3.0).abs() < f64::EPSILON);
        assert!(metrics.sum("a", &["z=\"2\""]).is_err());
    }
}
