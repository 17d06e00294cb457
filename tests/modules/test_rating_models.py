import numpy as np
import pytest
import tensorflow as tf

from modules.rating_models import embedding_rows

TABLE = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
FEATURE_TABLE = np.array([[10, 20], [100, 200]], np.float32)


def rows(ids, features):
    features = None if features is None else tf.constant(features, tf.float32)
    return embedding_rows(tf.Variable(TABLE), ids, tf.Variable(FEATURE_TABLE), features).numpy()


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_features_count_for_unknown_ids_alone(dtype):
    ids = tf.constant([0, 1, 2, 2, 7], dtype)
    features = [[1, 1], [1, 0], [0, 0], [1, 0], [0.5, 1]]
    np.testing.assert_array_equal(rows(ids, features), [[1, 2], [3, 4], [5, 6], [15, 26], [110, 216]])
    np.testing.assert_array_equal(rows(ids, None), [[1, 2], [3, 4], [5, 6], [5, 6], [5, 6]])


def test_empty_batch():
    assert rows(tf.zeros([0], tf.int64), np.zeros((0, 2))).shape == (0, 2)
