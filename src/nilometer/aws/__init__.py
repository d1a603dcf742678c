"""DynamoDB, EventBridge, SQS, S3 and Secrets Manager through boto3: the only room that imports it."""
