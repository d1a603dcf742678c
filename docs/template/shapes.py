"""The YAML of what repeats in template.yaml. `<name>` stands for a value of a row; a line without its value goes."""

QUEUE = """\
  <name>Queue:
    Type: AWS::SQS::Queue
    Properties:
      # At least six times the function's timeout plus the batching window.
      VisibilityTimeout: <visibility>
      MessageRetentionPeriod: 1209600
      SqsManagedSseEnabled: true
      RedrivePolicy:
        deadLetterTargetArn: !GetAtt <name>DeadLetters.Arn
        maxReceiveCount: 5

  <name>DeadLetters:
    Type: AWS::SQS::Queue
    Properties:
      MessageRetentionPeriod: 1209600
      SqsManagedSseEnabled: true

  <name>Mapping:
    Type: AWS::Lambda::EventSourceMapping
    <condition>
    Properties:
      # On one machine the runner of `nilometer local` polls instead.
      Enabled: !If [<read>, true, false]
      FunctionName: !Ref <function>Function.Alias
      EventSourceArn: !GetAtt <name>Queue.Arn
      <above_BatchSize>
      BatchSize: <batch>
      <above_MaximumBatchingWindowInSeconds>
      MaximumBatchingWindowInSeconds: <window>
      FunctionResponseTypes: [ReportBatchItemFailures]
      ScalingConfig: {MaximumConcurrency: <concurrency>}
"""

QUEUE_POLICY = """\
  <name>QueuePolicy:
    Type: AWS::SQS::QueuePolicy
    <condition>
    Properties:
      Queues: [!Ref <name>Queue, !Ref <name>DeadLetters]
      PolicyDocument:
        Version: "2012-10-17"
        Statement:
"""

SENDER = """\
- Effect: Allow
  Principal: {Service: events.amazonaws.com}
  Action: sqs:SendMessage
  Resource: [!GetAtt <name>Queue.Arn, !GetAtt <name>DeadLetters.Arn]
  Condition: {ArnEquals: {aws:SourceArn: !GetAtt <rule>.Arn}}
"""

ROLE = """\
  <name>Logs:
    Type: AWS::Logs::LogGroup
    <condition>
    Properties:
      RetentionInDays: 30

  <name>Role:
    Type: AWS::IAM::Role
    <condition>
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal: {Service: lambda.amazonaws.com}
            Action: sts:AssumeRole
      Policies:
        - PolicyName: <policy>
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
              - Effect: Allow
                Action: [logs:CreateLogStream, logs:PutLogEvents]
                Resource: !Sub "${<name>Logs.Arn}:*"
"""

RECEIVES = """\
              - Effect: Allow
                Action: [sqs:ReceiveMessage, sqs:DeleteMessage, sqs:GetQueueAttributes]
                Resource: [!GetAtt <queue>Queue.Arn]
"""

SCHEDULE = """\
  <note>
  <name>Schedule:
    Type: AWS::Scheduler::Schedule
    Properties:
      ScheduleExpression: <expression>
      # On one machine the runner of `nilometer local` runs the schedules.
      State: !If [OnAws, ENABLED, DISABLED]
      FlexibleTimeWindow: {Mode: "OFF"}
      Target:
        Arn: !Ref <function>Function.Alias
        RoleArn: !GetAtt ScheduleRole.Arn
        <input>
        DeadLetterConfig: {Arn: !GetAtt ScheduleDeadLetters.Arn}
        RetryPolicy: {MaximumRetryAttempts: <retries>, MaximumEventAgeInSeconds: <seconds>}
"""

ALARM_END = """\
      EvaluationPeriods: <of>
      DatapointsToAlarm: <points>
      Threshold: <threshold>
      ComparisonOperator: <comparison>
      TreatMissingData: <missing>
      AlarmActions: [!Ref AlarmTopic]
      OKActions: [!Ref AlarmTopic]
"""

ALARM = """\
  <name>:
    Type: AWS::CloudWatch::Alarm
    Condition: <condition>
    Properties:
      AlarmDescription: "<description> (docs/runbook.md#<paragraph>)"
      <note>
      Namespace: <namespace>
      MetricName: <metric>
      <dimensions>
      <statistic>
      Period: <period>
"""

CANARY = """\
  <name>CanaryAlarm:
    Type: AWS::CloudWatch::Alarm
    Condition: HasCanary
    Properties:
      AlarmDescription: "The newest version of <name>Function fails (docs/runbook.md#canary)"
      Metrics:
        - Id: broken
          Expression: SUM(METRICS())
        - Id: errors
          ReturnData: false
          MetricStat:
            Metric:
              Namespace: AWS/Lambda
              MetricName: Errors
              Dimensions:
                - {Name: FunctionName, Value: !Ref <name>Function}
                - {Name: Resource, Value: !Sub "${<name>Function}:live"}
                - {Name: ExecutedVersion, Value: !GetAtt <name>Function.Version.Version}
            Period: 60
            Stat: Sum
"""

JUDGED_BY = """\
        - Id: <metric>
          ReturnData: false
          MetricStat:
            Metric:
              Namespace: !Ref AWS::StackName
              MetricName: <metric>
              Dimensions:
                - {Name: flow, Value: <flow>}
                - {Name: version, Value: !GetAtt <name>Function.Version.Version}
            Period: 60
            Stat: Sum
"""

DASHBOARD = """\
  Dashboard:
    Type: AWS::CloudWatch::Dashboard
    Condition: HasAlarms
    Properties:
      DashboardName: !Ref AWS::StackName
      DashboardBody: !Sub |
"""

RATIO = """\
  <name>:
    Type: AWS::CloudWatch::Alarm
    Condition: <condition>
    Properties:
      AlarmDescription: "<description> (docs/runbook.md#<paragraph>)"
      Metrics:
        - Id: judged
          Expression: <expression>
"""

OF_RATIO = """\
        - Id: <id>
          ReturnData: false
          MetricStat:
            Metric:
              Namespace: <namespace>
              MetricName: <metric>
              Dimensions: [{Name: <dimension>, Value: <value>}]
            Period: <period>
            Stat: Sum
"""

CATALOG_TABLE = """\
  <resource>:
    Type: AWS::Glue::Table
    Condition: HasCatalog
    Properties:
      CatalogId: !Ref AWS::AccountId
      DatabaseName: !Ref CatalogDatabase
      TableInput:
        Name: <name>
        Description: <meaning>
        TableType: EXTERNAL_TABLE
        Parameters: {EXTERNAL: "TRUE", classification: delta, spark.sql.sources.provider: delta}
        StorageDescriptor:
          Location: !Sub "s3://${LakeBucket}/lake/<name>/"
          InputFormat: org.apache.hadoop.mapred.SequenceFileInputFormat
          OutputFormat: org.apache.hadoop.hive.ql.io.HiveSequenceFileOutputFormat
          SerdeInfo:
            SerializationLibrary: org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe
            Parameters: {serialization.format: "1", path: !Sub "s3://${LakeBucket}/lake/<name>/"}
          Columns:
"""
