-- Idempotency keys and answers older than 25 hours go, at most p_limit of each; returns how many rows went.
--
-- A key counts for 24 hours. The hour more is for who reads an answer when its key expires. Answers go by their own
-- age: parts that no settle ever confirmed belong to no key.
create function fanfold.idempotency_purge(p_limit integer) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  kept_since constant timestamptz := now() - interval '25 hours';
  keys bigint;
  answers bigint;
begin
  delete from fanfold.idempotency_keys k
   using (select t.tenant_id, t.route, t.key from fanfold.idempotency_keys t
           where t.created_at < kept_since order by t.created_at limit p_limit for update skip locked) o
   where k.tenant_id = o.tenant_id and k.route = o.route and k.key = o.key;
  get diagnostics keys = row_count;
  delete from fanfold.idempotency_answers a
   using (select t.tenant_id, t.request_id, t.part from fanfold.idempotency_answers t
           where t.created_at < kept_since order by t.created_at limit p_limit for update skip locked) o
   where a.tenant_id = o.tenant_id and a.request_id = o.request_id and a.part = o.part;
  get diagnostics answers = row_count;
  return keys + answers;
end
$function$
