/* Running several calls at once, on groups: rota_gather_map, rota_race. Whatever happens, no task of theirs is left
 * when they return: a group's end waits for all. */
#include "coro/task.h"
#include "rota/combine.h"

/* ---- map ---- */

int rota_gather_map_at(rota_at at, rota_fn *fn, void *array, size_t n, size_t stride, intptr_t *results,
                       const rota_gather_options *opt) {
    rota_task *self;
    int untold = 0;
    if (!fn || (!array && n))
        return -EINVAL;
    int rc = rota__enter(&self);
    if (rc < 0) {
        for (size_t i = 0; results && i < n; i++)
            results[i] = rc;
        return rc;
    }
    rota_group group;
    rota_group_begin_at(at, &group, &(rota_group_options){ .keep_going = opt && opt->keep_going });
    rota_spawn_options spawn = { .group = &group };
    for (size_t i = 0; i < n; i++) {
        spawn.result = results ? &results[i] : NULL;
        int failed = rc < 0 ? rc : rota_spawn_at(at, NULL, fn, (char *)array + i * stride, &spawn);
        if (failed < 0 && results)
            results[i] = failed;
        if (failed < 0 && !group.options_.keep_going)
            rc = failed;
        if (failed < 0 && !results)
            untold = failed;
    }
    rc = (int)rota_group_end(&group, rc);
    return rc < 0 ? rc : rota__group_cut_short(&group) ? -ECANCELED : untold;
}

/* ---- race ---- */

struct race {
    rota_group group;       /* keep_going: a failure ends no race, only a winner does */
    size_t winner, loser;   /* the first that did not fail, the first that did; or NOBODY */
};

static const size_t NOBODY = SIZE_MAX;

struct lane {
    struct race *race;
    rota_call *call;
    size_t index;
};

/* Entry of a runner. Whoever comes in first cancels the rest before anything else can run. */
static intptr_t run_lane(void *arg) {
    const struct lane *lane = arg;
    struct race *race = lane->race;
    intptr_t value = lane->call->fn(lane->call->arg);
    if (rota_failed(value)) {
        race->loser = race->loser == NOBODY ? lane->index : race->loser;
    } else if (race->winner == NOBODY) {
        race->winner = lane->index;
        rota_scope_cancel(&race->group.scope, "another one won the race");
    }
    return value;
}

/* Starts them all, or none that gets anywhere: those that were started are cancelled. */
static int start_lanes(rota_at at, struct race *race, rota_call *calls, size_t n) {
    int rc = 0;
    for (size_t i = 0; i < n; i++) {
        struct lane lane = { race, &calls[i], i };
        rota_spawn_options spawn = { .group = &race->group, .result = &calls[i].result, .arg_size = sizeof lane };
        if (rc == 0)
            rc = calls[i].fn ? rota_spawn_at(at, NULL, run_lane, &lane, &spawn) : -EINVAL;
        if (rc < 0)
            calls[i].result = rc;
    }
    return rc;
}

int rota_race_at(rota_at at, rota_call *calls, size_t n, size_t *winner) {
    rota_task *self;
    if (!calls || !n)
        return -EINVAL;
    int rc = rota__enter(&self);
    if (rc < 0) {
        for (size_t i = 0; i < n; i++)
            calls[i].result = rc;
        return rc;
    }
    struct race race = { .winner = NOBODY, .loser = NOBODY };
    rota_group_begin_at(at, &race.group, &(rota_group_options){ .keep_going = true });
    rc = start_lanes(at, &race, calls, n);
    rc = (int)rota_group_end(&race.group, rc);
    if (rc < 0)
        return rc;
    bool won = race.winner != NOBODY;
    if (!won && rota__group_cut_short(&race.group))
        return -ECANCELED;
    size_t index = won ? race.winner : race.loser;
    if (winner)
        *winner = index;
    return won ? 0 : (int)calls[index].result;
}
