"""Delta tables in S3: the only room that imports deltalake, arro3, pyarrow and duckdb."""
