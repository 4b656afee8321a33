"""State, step, loop, checkpoint, batches; knows no system.

A recipe puts the parts together::

    mesh = data_mesh()
    state = replicate(init_state(key, params, optimizer, row_optimizers={"latents": adam}), mesh)
    step = make_step(loss, optimizer, config=config, row_optimizers={"latents": adam})
    batches = Batches(reader, key=order_key, batch_size=128, mesh=mesh)
    with Checkpoints(folder, to_dict(config)) as checkpoints:
        state = checkpoints.restore(state)
        history = History(csv, step=int(state.step))
        stop, save = abort_when(job.abort_reason, checkpoints), save_every(checkpoints)
        steps = epochs * batches.steps_per_epoch
        state = fit(state, step, batches, steps=steps, callbacks=[history, stop, save])
"""
