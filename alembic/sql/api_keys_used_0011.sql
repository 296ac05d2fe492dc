-- When keys were used last, of many at once, each at most once a minute. A key whose row somebody holds is passed over:
-- nobody waits for whoever changes it.
create function fanfold.api_keys_used(p_tenants uuid[], p_keys uuid[], p_moments timestamptz[]) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp as $f$
    with used as (
        select u.tenant_id, u.id, u.moment from unnest(p_tenants, p_keys, p_moments) u (tenant_id, id, moment)
    ), free as (
        select k.tenant_id, k.id, u.moment
          from fanfold.api_keys k join used u on u.tenant_id = k.tenant_id and u.id = k.id
         where k.last_used_at is null or k.last_used_at <= u.moment - interval '1 minute'
           for update of k skip locked
    ), written as (
        update fanfold.api_keys k set last_used_at = f.moment
          from free f where k.tenant_id = f.tenant_id and k.id = f.id returning 1
    )
    select count(*) from written
$f$
