"""The server of pushed models: what TensorFlow Serving answers, in Python; knows neither TFX nor Beam."""
