def write_report(folder, model, loader):  # placeholder until the page exists
    pass
