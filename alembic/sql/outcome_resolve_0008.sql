-- Ends an open outcome for good: `billed` charges `p_units` of its units to its period (null: all of them), `waived` charges
-- nothing. Returns what was done: ok, missing, resolved (or changed: somebody was faster), excessive (more than its units),
-- insufficient (the units are not free: grant first). One statement, so that the locks are held for no round trip.
create function fanfold.outcome_resolve(
  p_tenant_id uuid, p_request_id uuid, p_resolution text, p_units bigint, p_reason text, p_resolved_by uuid)
returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  seen fanfold.outcomes;
  outcome fanfold.outcomes;
  charged smallint := 0;
  due bigint := 0;
begin
  select * into seen from fanfold.outcomes t where t.tenant_id = p_tenant_id and t.request_id = p_request_id;
  if not found then
    return 'missing';
  end if;
  -- Behind its late settle, or before it: whoever moves units, and whoever says that none are to move, has this lock.
  perform from fanfold.quota_periods t
    where t.tenant_id = seen.tenant_id and t.period_start = seen.period_start for no key update;
  select * into outcome from fanfold.outcomes t where t.tenant_id = p_tenant_id and t.request_id = p_request_id;
  if outcome.resolved_at is not null or (outcome.kind, outcome.units) <> (seen.kind, seen.units) then
    return 'resolved';
  end if;
  if p_resolution = 'billed' then
    due := coalesce(p_units, outcome.units);
    if due > outcome.units then
      return 'excessive';
    end if;
    select c.status[1] into charged
      from fanfold.ledger_commit(
           array[outcome.tenant_id], array[outcome.period_start],
           case when outcome.api_key_id is null then '{}' else array[1] end,
           case when outcome.api_key_id is null then '{}' else array[outcome.api_key_id] end,
           array[row(4, 1, case when outcome.api_key_id is not null then 1 end, outcome.request_id, 0, 0)::fanfold.ledger_operation],
           array[row(1, -1, 'resolution', due, 1, due, false, null, null)::fanfold.ledger_reading],
           '{}', '{}') c;
  end if;
  if charged in (1, 7) then
    return 'insufficient';
  elsif charged <> 0 then
    return 'resolved';
  end if;
  update fanfold.outcomes t
     set resolved_at = now(), resolution = p_resolution, reason = p_reason, resolved_by = p_resolved_by,
         resolved_units = due
   where t.tenant_id = p_tenant_id and t.request_id = p_request_id;
  return 'ok';
end
$function$
