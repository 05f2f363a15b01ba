// canonical
