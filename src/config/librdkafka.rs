//! librdkafka's properties, as librdkafka itself knows them.

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

/// Asks librdkafka whether it knows the property and takes the value; nothing is connected.
///
/// # Errors
/// librdkafka's own reason. It may hold the value.
pub fn validate_property(name: &str, value: &str) -> Result<(), String> {
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, reason, ..)) => Err(reason),
        Err(KafkaError::Nul(_)) => Err(format!("the value of {name} holds a NUL character")),
        Err(other) => Err(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::validate_property;

    #[test]
    fn librdkafka_tells_known_properties_from_unknown_ones_and_right_values_from_wrong_ones() {
        assert_eq!(validate_property("compression.type", "zstd"), Ok(()));
        assert_eq!(validate_property("linger.ms", "5"), Ok(()));
        let unknown = validate_property("compression.tpye", "zstd").unwrap_err();
        assert!(unknown.contains("compression.tpye"), "{unknown}");
        let wrong = validate_property("compression.type", "brotli").unwrap_err();
        assert!(wrong.contains("brotli"), "{wrong}");
        let range = validate_property("linger.ms", "-1").unwrap_err();
        // It names the property by its first name, `queue.buffering.max.ms`.
        assert!(range.contains("outside allowed range"), "{range}");
    }
}
