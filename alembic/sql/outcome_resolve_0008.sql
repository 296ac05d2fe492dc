-- Ends an open outcome for good: `billed` charges `p_units` to its period, `waived` charges nothing. Returns what was done:
-- ok, missing, resolved (somebody was faster), insufficient (the units are not free: grant first). One statement, so that
-- the locks of the charge are held for no round trip.
create function fanfold.outcome_resolve(
  p_tenant_id uuid, p_request_id uuid, p_resolution text, p_units bigint, p_reason text, p_resolved_by uuid)
returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  outcome fanfold.outcomes;
  charged smallint := 0;
begin
  select * into outcome from fanfold.outcomes t where t.tenant_id = p_tenant_id and t.request_id = p_request_id;
  if not found then
    return 'missing';
  elsif outcome.resolved_at is not null then
    return 'resolved';
  end if;
  if p_resolution = 'billed' then
    select c.status[1] into charged
      from fanfold.ledger_commit(
           array[outcome.tenant_id], array[outcome.period_start],
           case when outcome.api_key_id is null then '{}' else array[1] end,
           case when outcome.api_key_id is null then '{}' else array[outcome.api_key_id] end,
           array[row(4, 1, case when outcome.api_key_id is not null then 1 end, outcome.request_id, 0, 0)::fanfold.ledger_operation],
           array[row(1, -1, 'resolution', p_units, 1, p_units, false, null, null)::fanfold.ledger_reading],
           '{}', '{}') c;
  end if;
  if charged in (1, 7) then
    return 'insufficient';
  elsif charged <> 0 then
    return 'resolved';
  end if;
  update fanfold.outcomes t
     set resolved_at = now(), resolution = p_resolution, reason = p_reason, resolved_by = p_resolved_by,
         resolved_units = case when p_resolution = 'billed' then p_units else 0 end
   where t.tenant_id = p_tenant_id and t.request_id = p_request_id and t.resolved_at is null;
  if not found then                     -- settled, or resolved, while this waited: the charge must not stay
    raise exception 'ledger: this outcome was resolved meanwhile' using errcode = 'FF004';
  end if;
  return 'ok';
end
$function$
