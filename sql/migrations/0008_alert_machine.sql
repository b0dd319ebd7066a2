-- The state machine of alerts in one function: its parts leave `public`, where tenants could call them.

-- squawk-ignore ban-drop-function
drop function if exists public.workflow_alert_judge(
  public.workflow_alert_rules, bigint, bigint, integer, double precision
);
-- squawk-ignore ban-drop-function
drop function if exists public.workflow_alert_recovered(
  public.workflow_alert_rules, bigint, bigint, bigint, bigint, integer
);

-- What these take or return has other names now, which no `create or replace` can change.
-- squawk-ignore ban-drop-function
drop function if exists meshmetrics.alert_measures(timestamptz, uuid[]);
-- squawk-ignore ban-drop-function
drop function if exists meshmetrics.run_states();
-- squawk-ignore ban-drop-function
drop function if exists public.workflow_alert_preview(jsonb, uuid, integer);
-- squawk-ignore ban-drop-function
drop function if exists meshmetrics.alert_in_row(
  uuid[], meshmetrics.outcome, timestamptz, timestamptz, integer
);
