// A picture that CCP's image server does not have in one variation is asked for in the next; one it has in none gives way.
function next(picture) {
  const [variation, ...others] = (picture.dataset.or || "").split(" ").filter(Boolean);
  if (!variation) {
    picture.style.visibility = "hidden";
    return;
  }
  picture.dataset.or = others.join(" ");
  picture.src = picture.src.replace(/\/[a-z]+\?/, `/${variation}?`);
}

const isOurs = (element) => element instanceof HTMLImageElement && element.classList.contains("picture");
// Errors of pictures do not bubble; those that came before this script are found by their size.
document.addEventListener("error", (event) => isOurs(event.target) && next(event.target), true);
document.querySelectorAll("img.picture").forEach((picture) => {
  if (picture.complete && picture.currentSrc && !picture.naturalWidth) next(picture);
});
